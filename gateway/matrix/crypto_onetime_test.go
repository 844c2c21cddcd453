//go:build goolm

package matrix

import (
	"fmt"
	"testing"
	"time"

	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
)

// People find a key to begin with us, also after others have taken all of them, and whether or not the homeserver counts.
func TestKeysToBeginWith(t *testing.T) {
	k := newCryptoServer(t)
	now := time.Now()
	c := k.bot(t, newMemTable(), secrets{}, func(cfg *Config) { cfg.Now = func() time.Time { return now } })
	at := string(testBot) + "/" + string(c.engine.mach.Load().Client.DeviceID)
	took := func(counts map[string]int, fallback []string) {
		t.Helper()
		var res syncResponse
		res.OneTimeKeys, res.Fallback = counts, fallback
		res.ToDevice.Events = k.take(string(testBot), string(c.engine.mach.Load().Client.DeviceID))
		if err := c.engine.took(t.Context(), res); err != nil {
			t.Fatal(err)
		}
	}
	for what, counts := range map[string]map[string]int{"none is left": {"signed_curve25519": 0}, "none is counted": {}, "nothing is counted": nil} {
		clear(k.oneTime[at])
		now = now.Add(countEvery)
		if took(counts, nil); len(k.oneTime[at]) < 50 {
			t.Errorf("when %s there are %d one-time keys", what, len(k.oneTime[at]))
		}
	}

	says := func(who string) {
		t.Helper()
		clear(k.oneTime[at])
		e := k.person(t, who, "PHONE").says(t, "$"+who, "m.room.message", `{"msgtype":"m.text","body":"hello"}`, id.UserID(testBot))
		took(map[string]int{"signed_curve25519": 50}, []string{"signed_curve25519"})
		if _, err := c.Decrypt(t.Context(), e); err != nil {
			t.Errorf("what %s says with a fallback key: %v", who, err)
		}
	}
	took(nil, []string{})
	before := fmt.Sprint(k.last[at])
	if before == "map[]" {
		t.Fatal("there is no fallback key")
	}
	says("@alice:example.org")
	says("@bob:example.org")
	if took(nil, []string{}); fmt.Sprint(k.last[at]) != before {
		t.Error("a new fallback key at once")
	}
	now = now.Add(fallbackEvery)
	if took(nil, []string{}); fmt.Sprint(k.last[at]) == before {
		t.Error("no new fallback key after one was used")
	}
	says("@carol:example.org")
}

// Whoever nobody watched over is asked for again before they get a key.
func TestDevicesThatChangedUnseen(t *testing.T) {
	for name, unseen := range map[string]func(*testing.T, *cryptoServer, *Client){
		"who shares no room with us": func(t *testing.T, _ *cryptoServer, c *Client) {
			var res syncResponse
			res.DeviceLists.Left = []id.UserID{"@alice:example.org"}
			if err := c.engine.took(t.Context(), res); err != nil {
				t.Fatal(err)
			}
		},
		"when the position is lost": func(t *testing.T, k *cryptoServer, c *Client) {
			k.on(onSync, says(200, `{"next_batch":"s1"}`))
			s := syncer{c: c, kept: "s0", keptAt: time.Now()}
			if _, err := s.step(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			k := newCryptoServer(t)
			k.person(t, "@alice:example.org", "PHONE")
			table, kept := newMemTable(), secrets{}
			c := k.bot(t, table, kept, nil)
			if o := c.Send(t.Context(), testRoom, "", saying("r1", "for the phone")); o.Verdict != lane.Done {
				t.Fatal(o)
			}
			tablet := k.person(t, "@alice:example.org", "TABLET")
			unseen(t, k, c)
			c = k.bot(t, table.clone(), kept, nil) // it is durable
			if o := c.Send(t.Context(), testRoom, "", saying("r2", "for both")); o.Verdict != lane.Done {
				t.Fatal(o)
			}
			if _, err := tablet.read(t, k.events()[1]); err != nil {
				t.Error(err)
			}
			asked := k.count("POST /_matrix/client/v3/keys/query")
			if o := c.Send(t.Context(), testRoom, "", saying("r3", "for both")); o.Verdict != lane.Done {
				t.Fatal(o)
			}
			if again := k.count("POST /_matrix/client/v3/keys/query"); again != asked {
				t.Error("asked again for what is known")
			}
		})
	}
}
