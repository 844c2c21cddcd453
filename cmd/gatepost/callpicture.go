package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/internal/logkey"
)

// album shows what a device sees when it rings, in the device's room. The zero value shows nothing. Safe for concurrent use.
type album struct {
	ctx  context.Context // of the phone
	wg   *sync.WaitGroup
	take func(context.Context) (gateway.Picture, error) // nil: the device has no pictures
	show func(pic gateway.Picture, text string) error
	log  *slog.Logger

	mu     sync.Mutex
	latest gateway.Picture // of the ring that goes on
}

// pictureTime is how long a picture may take.
const pictureTime = 10 * time.Second

// album makes the album of a device.
func (d *daemon) album(ctx context.Context, wg *sync.WaitGroup, spec gateway.Phone) *album {
	if spec.Picture == "" && spec.PictureURL == "" {
		return &album{}
	}
	return &album{
		ctx: ctx, wg: wg, log: d.p.Log.With(logkey.Device, string(spec.Device)),
		take: func(ctx context.Context) (gateway.Picture, error) { return d.gateway.Snapshot(ctx, spec.Device) },
		show: func(pic gateway.Picture, text string) error { return d.gateway.Show(spec.Device, pic, text) },
	}
}

// ringing takes and shows a picture. It does not block; phone.Phone calls it while it runs.
func (a *album) ringing() {
	if a.take == nil {
		return
	}
	a.mu.Lock()
	a.latest = gateway.Picture{}
	a.mu.Unlock()
	a.wg.Go(func() {
		ctx, cancel := context.WithTimeout(a.ctx, pictureTime)
		defer cancel()
		pic, err := a.take(ctx)
		switch {
		case errors.Is(err, gateway.ErrNoPicture), a.ctx.Err() != nil:
			return
		case err != nil:
			a.log.Warn("there is no picture of who rings", logkey.Error, err)
			return
		}
		a.mu.Lock()
		a.latest = pic
		a.mu.Unlock()
		a.post(pic, "")
	})
}

// missed shows the picture of the ring that nobody answered again, under the line that says so.
func (a *album) missed() {
	a.mu.Lock()
	pic := a.latest
	a.mu.Unlock()
	if pic.Data != nil {
		a.post(pic, "Who rang.")
	}
}

func (a *album) post(pic gateway.Picture, text string) {
	if err := a.show(pic, text); err != nil {
		a.log.Error("a picture could not be stored", logkey.Error, err)
	}
}
