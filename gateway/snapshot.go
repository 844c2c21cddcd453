package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/media"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// Picture is what a device saw.
type Picture struct {
	Data []byte    // an image of a format that package media knows; never changed
	At   time.Time // zero: nobody knows, but not of now
}

// Errors of Snapshot.
var (
	// ErrNoPicture says that there is none: the device has no snapshot in the configuration, or published none yet.
	ErrNoPicture = errors.New("gateway: no picture")
	// errNotPicture says that what should be a picture is none.
	errNotPicture = errors.New("gateway: not a picture")
)

const (
	maxPicture   = 4 << 20          // bytes of one
	maxPictures  = 32 << 20         // of all that are kept; above it the oldest go
	freshPicture = 10 * time.Second // so old it is still of the one who rings
	pictureWait  = 5 * time.Second  // for a fresh one, which a camera may publish after the bell
)

// pictures are the latest that devices published, in memory only. Safe for concurrent use.
type pictures struct {
	mu     sync.Mutex
	latest map[ids.DeviceID]Picture
	size   int
	news   chan struct{} // closed when there is another

	bad sync.Map // devices whose last word was no picture, of whom the log knows
}

func newPictures() *pictures {
	return &pictures{latest: map[ids.DeviceID]Picture{}, news: make(chan struct{})}
}

// put keeps a picture in the place of the device's last one; one without data takes that away.
func (p *pictures) put(d ids.DeviceID, pic Picture) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop(d)
	if len(pic.Data) == 0 {
		return
	}
	for p.size+len(pic.Data) > maxPictures {
		var oldest ids.DeviceID
		for id, o := range p.latest {
			if oldest == "" || o.At.Before(p.latest[oldest].At) {
				oldest = id
			}
		}
		p.drop(oldest)
	}
	p.latest[d] = pic
	p.size += len(pic.Data)
	close(p.news)
	p.news = make(chan struct{})
}

func (p *pictures) drop(d ids.DeviceID) {
	p.size -= len(p.latest[d].Data)
	delete(p.latest, d)
}

// get gives the latest, and what is closed when any device has another.
func (p *pictures) get(d ids.DeviceID) (Picture, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.latest[d], p.news
}

// isPicture says whether data may be shown as one.
func isPicture(data []byte) error {
	if len(data) > maxPicture {
		return errNotPicture
	}
	info, err := media.Inspect(data)
	if err != nil || !strings.HasPrefix(info.MIME, "image/") {
		return errNotPicture
	}
	return nil
}

// keepPicture keeps what a device published on its snapshot's topic. Of when a retained one is nobody knows.
func (g *Gateway) keepPicture(d ids.DeviceID, m topic.Message) {
	pic := Picture{Data: m.Payload, At: m.Time}
	if m.Retained {
		pic.At = time.Time{}
	}
	if len(m.Payload) > 0 && isPicture(m.Payload) != nil {
		if _, before := g.pictures.bad.LoadOrStore(d, true); !before {
			g.log.Warn("a snapshot is no picture, or too large", logkey.Device, string(d), logkey.Bytes, len(m.Payload))
		}
		return
	}
	g.pictures.bad.Delete(d)
	g.pictures.put(d, pic)
}

// Snapshot is what a device sees now: fetched, or the latest that it published; if that is older than a few seconds, a newer
// one is waited for a little. Errors: ErrNoPicture, ctx's, and those of fetching, which do not show the address.
func (g *Gateway) Snapshot(ctx context.Context, device ids.DeviceID) (Picture, error) {
	f, _ := g.phones.get(device)
	switch {
	case f.PictureURL != "":
		data, err := fetchPicture(ctx, f.PictureURL)
		return Picture{data, g.now()}, err
	case f.Picture == "":
		return Picture{}, ErrNoPicture
	}
	enough := time.NewTimer(pictureWait)
	defer enough.Stop()
	for {
		pic, news := g.pictures.get(device)
		if pic.Data != nil && g.now().Sub(pic.At) < freshPicture {
			return pic, nil
		}
		select {
		case <-news:
		case <-enough.C:
			if pic.Data == nil {
				return pic, ErrNoPicture
			}
			return pic, nil
		case <-ctx.Done():
			return Picture{}, ctx.Err()
		}
	}
}

// Show posts a picture of a device in the device's room, with a line of text; "": none, unless the picture is not fresh.
func (g *Gateway) Show(device ids.DeviceID, pic Picture, text string) error {
	at, ok := g.directory.place(device)
	if !ok {
		return nil // it was removed meanwhile
	}
	now := g.now()
	p := filePost("snapshot", pic.Data)
	switch {
	case text != "":
	case pic.At.IsZero():
		text = "An earlier picture."
	case now.Sub(pic.At) >= 2*freshPicture:
		text = "The latest picture, of " + pic.At.In(g.who.Load().zone).Format("Jan 2 15:04:05") + "."
	}
	if text != "" {
		p.Text = text
	}
	return g.commit(lane.Change{Append: []lane.Record{{Lane: at.room, ID: ids.NewULID(now), Device: device, Class: lane.Event, At: now, Post: p}}})
}
