//go:build goolm

package matrix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
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

// What a device says before we were told that it is there is known to be its owner's; one that is none is asked for once.
func TestADeviceThatSpeaksBeforeItIsKnown(t *testing.T) {
	k := newCryptoServer(t)
	phone := k.person(t, "@alice:example.org", "PHONE")
	c := k.bot(t, newMemTable(), secrets{}, nil)
	speaks := func(p *person, event string, as ids.UserID, want room.Trust) {
		t.Helper()
		e := p.says(t, event, "m.room.message", `{"msgtype":"m.text","body":"!unlock"}`, id.UserID(testBot))
		k.hear(t, c)
		e.Sender = as
		if got, err := c.Decrypt(t.Context(), e); err != nil || got.Trust != want {
			t.Errorf("%s: trusted as %v, want %v: %v", event, got.Trust, want, err)
		}
	}
	speaks(phone, "$1", "@alice:example.org", room.Known)
	speaks(k.person(t, "@alice:example.org", "TABLET"), "$2", "@alice:example.org", room.Known)
	asked := k.count("POST /_matrix/client/v3/keys/query")
	hidden := k.person(t, "@alice:example.org", "HIDDEN")
	k.mu.Lock()
	delete(k.keys["@alice:example.org"], "HIDDEN")
	k.mu.Unlock()
	speaks(hidden, "$3", "@alice:example.org", room.Untrusted)
	if again := k.count("POST /_matrix/client/v3/keys/query"); again > asked+2 {
		t.Errorf("asked %d times more", again-asked)
	}
}

// Who leaves while a picture is put on the homeserver, or while people's devices are asked for, can't read what is said.
func TestWhoLeavesMeanwhile(t *testing.T) {
	for name, meanwhile := range map[string]func(k *cryptoServer, leave func()){
		"while media goes up": func(k *cryptoServer, leave func()) {
			k.on(onUpload, func(w http.ResponseWriter, r *http.Request) {
				leave()
				says(200, `{"content_uri":"mxc://example.org/sealed"}`)(w, r)
			})
		},
		"while devices are asked for": func(k *cryptoServer, leave func()) { k.answering = leave },
	} {
		t.Run(name, func(t *testing.T) {
			k := newCryptoServer(t)
			k.members = append(k.members, "@bob:example.org")
			alice, bob := k.person(t, "@alice:example.org", "PHONE"), k.person(t, "@bob:example.org", "LAPTOP")
			c := k.bot(t, newMemTable(), secrets{}, nil)
			if o := c.Send(t.Context(), testRoom, "", saying("r1", "for both")); o.Verdict != lane.Done {
				t.Fatal(o)
			}
			meanwhile(k, func() {
				k.mu.Lock()
				k.members, k.answering = []string{string(testBot), "@alice:example.org"}, nil
				k.mu.Unlock()
				who := "@bob:example.org"
				if err := c.book.apply([]room.Event{{ID: "$m", Room: testRoom, Type: "m.room.member", StateKey: &who, Content: []byte(`{"membership":"leave"}`)}}); err != nil {
					t.Error(err)
				}
			})
			k.hear(t, c, "@alice:example.org")
			r := saying("r2", "a picture")
			r.Post = lane.Post{Kind: lane.Media, Text: "a picture", Name: "porch.jpg", MIME: "image/jpeg", Data: []byte("picture")}
			if o := c.Send(t.Context(), testRoom, "", r); o.Verdict != lane.Done {
				t.Fatal(o)
			}
			picture := k.events()[1]
			if _, err := alice.read(t, picture); err != nil {
				t.Error(err)
			}
			if _, err := bob.read(t, picture); err == nil {
				t.Error("who left reads what was said afterwards")
			}
		})
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
