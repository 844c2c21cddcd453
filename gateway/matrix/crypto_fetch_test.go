//go:build goolm

package matrix

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
)

// A device that appears while the homeserver is on its way with an older answer gets keys nevertheless.
func TestADeviceThatAppearsWhileDevicesAreAskedFor(t *testing.T) {
	k := newCryptoServer(t)
	alice := k.person(t, "@alice:example.org", "PHONE")
	c := k.bot(t, newMemTable(), secrets{}, nil)
	if o := c.Send(t.Context(), testRoom, "", saying("r-1", "for the telephone")); o.Verdict != lane.Done {
		t.Fatal(o)
	}
	k.hear(t, c, "@alice:example.org")
	var once sync.Once
	var tablet *person
	k.mu.Lock()
	k.answering = func() {
		once.Do(func() {
			tablet = k.person(t, "@alice:example.org", "TABLET")
			k.hear(t, c, "@alice:example.org")
		})
	}
	k.mu.Unlock()
	for _, text := range []string{"too early for the tablet", "for both"} {
		if o := c.Send(t.Context(), testRoom, "", saying("r-"+text, text)); o.Verdict != lane.Done {
			t.Fatal(o)
		}
	}
	sent := k.events()
	for _, p := range []*person{alice, tablet} {
		if _, err := p.read(t, sent[len(sent)-1]); err != nil {
			t.Errorf("%s: %v", p.mach.Client.DeviceID, err)
		}
	}
}

func TestOneAtATimeAboutAPerson(t *testing.T) {
	k := newCryptoServer(t)
	e := k.bot(t, newMemTable(), secrets{}, nil).engine
	var inside [4]atomic.Int32
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			a, b := i%4, (i/4)%4
			people := []id.UserID{id.UserID(fmt.Sprintf("@p%d:x", a)), id.UserID(fmt.Sprintf("@p%d:x", b))}
			if err := e.alone(t.Context(), people, func() error {
				if inside[a].Add(1) > 1 || a != b && inside[b].Add(1) > 1 {
					t.Error("two at a time")
				}
				inside[a].Store(0)
				inside[b].Store(0)
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(e.claims) != 0 {
		t.Errorf("%d claims are left", len(e.claims))
	}

	// Who waits can give up.
	ctx, cancel := context.WithCancel(t.Context())
	err := e.alone(t.Context(), []id.UserID{"@p1:x"}, func() error {
		cancel()
		return errors.Join(e.settled(ctx, []id.UserID{"@p1:x"}), e.settled(t.Context(), []id.UserID{"@p2:x"}))
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("waiting ended with %v", err)
	}
}
