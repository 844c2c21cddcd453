package gateway

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/gatepost/gatepost/gateway/avatar"
	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// otherKind is the kind of a device that did not say what it is.
const otherKind = "other"

// kindOf names the picture of a device that announced itself.
func kindOf(is *convention.Device) string {
	if is.Kind == convention.Other {
		return otherKind
	}
	return string(is.Kind)
}

// aboutDevice is the topic of a device's room, of what is known: "Lamp · Acme L1 · Kitchen".
func aboutDevice(is *convention.Device) string {
	var out []string
	for _, s := range []string{upper(strings.ReplaceAll(string(is.Kind), "_", " ")), is.Manufacturer + " " + is.Model, is.Area} {
		if s = strings.TrimSpace(strings.ReplaceAll(title(s), "\n", " ")); s != "" {
			out = append(out, s)
		}
	}
	return strings.Join(out, " · ")
}

// spaceLooks has, by avatar.Version and kind, where the picture is.
const spaceLooks = "avatars"

// looks are the pictures of rooms, each uploaded once. Safe for concurrent use.
type looks struct {
	mu    sync.Mutex // held during an upload, so that there is one
	pause time.Time  // none is tried before
}

// A picture that could not be uploaded or set is tried again after so long.
const looksPause = 5 * time.Minute

func (l *looks) rest(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pause = now.Add(looksPause)
}

// setAvatar gives a room the picture of a kind; "" takes it away.
func (p *provisioner) setAvatar(ctx context.Context, in ids.RoomID, kind string) error {
	content := map[string]any{}
	if kind != "" {
		mxc, err := p.picture(ctx, kind)
		if err != nil {
			return err
		}
		content["url"] = mxc
	}
	return p.g.matrix.SetState(ctx, in, "m.room.avatar", "", content)
}

// picture says where the picture of a kind is, and uploads it if it is nowhere.
func (p *provisioner) picture(ctx context.Context, kind string) (string, error) {
	l, now := &p.looks, p.g.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	key := fmt.Sprintf("%d/%s", avatar.Version, kind)
	if mxc, ok, err := p.g.store.Get(spaceLooks, key); err != nil || ok {
		return string(mxc), err
	}
	if wait := l.pause.Sub(now); wait > 0 && wait <= looksPause {
		return "", lane.Outcome{Verdict: lane.Retry, After: wait, Reason: "a picture could not be uploaded a moment ago"}
	}
	mxc, err := p.g.matrix.Upload(ctx, avatar.PNG(convention.Kind(kind)), "image/png", kind+".png")
	if err != nil {
		return "", fmt.Errorf("picture of %s: %w", kind, err)
	}
	return mxc, p.g.commit(lane.Change{Put: []lane.Item{{Space: spaceLooks, Key: key, Value: []byte(mxc)}}})
}
