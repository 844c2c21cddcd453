//go:build e2e || interop || fault

package e2ee

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// However the bot loses its keys, or gets back old ones, no ratchet is used again: it has a new device, the old one is logged
// out, people are told in one line, and everything goes on.
func TestNoRatchetComesBack(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]struct {
		keep func(*world) // before the last messages
		lose func(*world) // while nothing runs
	}{
		"a backup": {
			func(w *world) { w.cli("backup", filepath.Join(w.dir, "backup.tar")) },
			func(w *world) { w.cli("restore", "--force", filepath.Join(w.dir, "backup.tar")) },
		},
		"the file of keys is lost": {
			func(*world) {},
			func(w *world) { w.must(os.Remove(filepath.Join(w.data(), "gatepost-crypto.db"))) },
		},
		"a copy of the folder": {
			func(w *world) {
				w.gate.Kill()
				w.must(os.RemoveAll(filepath.Join(w.data(), "gatepost.sock")))
				w.must(os.CopyFS(filepath.Join(w.dir, "copy"), os.DirFS(w.data())))
				w.must(w.gate.Start(w.ctx))
			},
			func(w *world) {
				w.must(os.RemoveAll(w.data()))
				w.must(os.Rename(filepath.Join(w.dir, "copy"), w.data()))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			alice := w.person("alice", "alice")
			room := w.doorRoom(alice)
			lose.keep(w)
			sessions := map[string]bool{}
			for i := range 3 {
				e := w.happensFor(fmt.Sprint("before ", i), alice)
				sessions[e.Session] = true
			}
			old := w.botDevice(alice)
			w.gate.Kill()
			lose.lose(w)
			w.must(w.gate.Start(w.ctx))
			for i := range 3 {
				if e := w.happensFor(fmt.Sprint("after ", i), alice); sessions[e.Session] {
					t.Error("a session of before goes on")
				}
			}
			asked := w.say(alice, room, "!unlock")
			w.answers(alice, asked, "confirmed")
			if n := w.door.times("UNLOCK"); n != 1 {
				t.Errorf("the door was unlocked %d times", n)
			}
			if now := w.botDevice(alice); now == old {
				t.Errorf("the bot still has the device %s", old)
			}
			line := "My keys for encrypted rooms were lost, or old ones came back"
			control := w.shows(alice, line).Room
			n := 0
			for _, e := range alice.Events(control) {
				if strings.Contains(e.Content.Body, line) {
					n++
				}
			}
			if n != 1 {
				t.Errorf("people were told %d times", n)
			}
			w.sealed(alice, room)
			w.sealed(alice, control)
		})
	}
}

// data is the folder of the store.
func (w *world) data() string { return filepath.Join(w.gate.Dir, "data") }

func (w *world) cli(args ...string) {
	w.t.Helper()
	got, err := w.gate.Do(w.ctx, args...)
	w.must(err)
	if got.Code != 0 {
		w.t.Fatalf("gatepost %v: %+v", args, got)
	}
}

// botDevice is the bot's only device with keys.
func (w *world) botDevice(d *Device) string {
	w.t.Helper()
	trust, err := d.Trust(w.ctx, w.bot)
	w.must(err)
	if len(trust.Devices) != 1 {
		w.t.Fatalf("the bot has devices %+v", trust.Devices)
	}
	return trust.Devices[0].ID
}
