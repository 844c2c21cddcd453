//go:build e2e || interop || fault

package e2ee

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

// verifyInfo is what `gatepost verify --json` says.
type verifyInfo struct {
	Device        string
	Fingerprint   string
	Signed        bool
	Problem       string
	Verifications []struct {
		ID    string
		User  string
		State string
		Code  string
		Emoji []struct{ Symbol string }
	}
}

func (w *world) identity() (v verifyInfo) {
	w.t.Helper()
	r, err := w.gate.Do(w.ctx, "verify", "--json")
	w.must(err)
	if r.Code != 0 {
		w.t.Fatalf("verify: %d: %s", r.Code, r.Stderr)
	}
	w.must(json.Unmarshal([]byte(r.Stdout), &v))
	return v
}

// signed waits until the bot's device is signed.
func (w *world) signed() (v verifyInfo) {
	w.t.Helper()
	w.until("a signed device", func() bool {
		v = w.identity()
		return v.Signed
	})
	return v
}

// shown waits until the gateway shows emoji to a person, and returns them with the id.
func (w *world) shown(user string) (id, emoji string) {
	w.t.Helper()
	w.until("emoji at the gateway", func() bool {
		for _, v := range w.identity().Verifications {
			if v.User == user && v.State == "shown" {
				id, emoji = v.ID, ""
				for _, e := range v.Emoji {
					emoji += e.Symbol + " "
				}
				return true
			}
		}
		return false
	})
	return id, strings.TrimSpace(emoji)
}

// verifies has a person and the gateway compare emoji until both trust each other.
func (w *world) verifies(d *Device, v *Verification) {
	w.t.Helper()
	mine, err := v.Begin().Emoji(w.soon())
	w.must(err)
	id, theirs := w.shown(d.UserID)
	if got := strings.Join(mine.Emoji, " "); got != theirs {
		w.t.Fatalf("the client shows %s, the gateway %s", got, theirs)
	}
	r, err := w.gate.Do(w.ctx, "verify", "--match", id)
	w.must(err)
	if r.Code != 0 {
		w.t.Fatalf("verify --match: %s", r.Stderr)
	}
	w.must(v.Confirm(w.soon()))
	w.until("the end at the gateway", func() bool {
		for _, v := range w.identity().Verifications {
			if v.ID == id {
				return v.State == "done"
			}
		}
		return false
	})
}

// A client that shares keys with, and takes texts from, signed devices alone gets on with the gateway from the first message.
func TestTheBotIsSignedFromTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.signed()
	alice, err := w.node.LoginStrict(w.ctx, "alice", w.hs, "alice", secret("alice"))
	w.must(err)
	alice.Keys, err = alice.CrossSign(w.ctx)
	w.must(err)
	room := w.doorRoom(alice)
	asked := w.say(alice, room, "!unlock")
	if e := w.answers(alice, asked, "confirmed"); e.Warning != "" {
		t.Errorf("the client warns: %s", e.Warning)
	}
	trust, err := alice.Trust(w.ctx, w.bot)
	w.must(err)
	if !trust.Identity || trust.Verified || len(trust.Devices) != 1 || !trust.Devices[0].Signed {
		t.Errorf("the bot is %+v", trust)
	}
}

func TestOwnersVerifyTheBot(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	alice, bob := w.person("alice", "alice"), w.person("bob", "bob")
	room := w.doorRoom(alice)
	device := w.signed().Device

	// Not the same: it ends, and nobody trusts anybody.
	v, err := alice.AskInRoom(w.ctx, w.bot, room)
	w.must(err)
	_, err = v.Begin().Emoji(w.soon())
	w.must(err)
	id, _ := w.shown(alice.UserID)
	r, err := w.gate.Do(w.ctx, "verify", "--differ", id)
	w.must(err)
	if code, err := v.Cancelled(w.soon()); err != nil || code != "m.mismatched_sas" || r.Code != 0 {
		t.Errorf("cancelled with %s, %v, %s", code, err, r.Stderr)
	}

	v, err = alice.AskInRoom(w.ctx, w.bot, room)
	w.must(err)
	w.verifies(alice, v)
	trust, err := alice.Trust(w.ctx, w.bot)
	w.must(err)
	if !trust.Verified || len(trust.Devices) != 1 || !trust.Devices[0].Verified {
		t.Errorf("after the comparison the bot is %+v", trust)
	}

	// Device to device, which clients do as well.
	second := w.another("alice's telephone", alice)
	v, err = second.AskDevice(w.ctx, w.bot, device)
	w.must(err)
	w.verifies(second, v)

	// A member is no owner.
	v, err = bob.AskDevice(w.ctx, w.bot, device)
	w.must(err)
	asked := w.say(alice, room, "!bell after bob")
	w.answers(alice, asked, "sent")
	if s, err := v.step(w.ctx, nil); err != nil || s.Phase != "Requested" && s.Phase != "Created" {
		t.Errorf("bob's request is %+v, %v", s, err)
	}
	w.sealed(alice, room)
}

func TestOnlyVerifiedPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *harness.Settings) {
		s.Extra = "crypto: {trust: verified}\ncommands: {require_verified: true}\n"
	})
	alice, bob := w.person("alice", "alice"), w.person("bob", "bob")
	device := w.signed().Device
	v, err := alice.AskDevice(w.ctx, w.bot, device)
	w.must(err)
	w.verifies(alice, v)
	room := w.doorRoom(alice)
	w.joined(bob, room, bob.UserID)
	w.joined(alice, room, bob.UserID)
	e := w.happensFor("for the verified", alice)
	w.blind(bob, e.ID)
	asked := w.say(bob, room, "!unlock")
	w.answers(alice, asked, "verified")
	if n := w.door.times("UNLOCK"); n != 0 {
		t.Error("somebody who is not verified unlocked the door")
	}
	asked = w.say(alice, room, "!unlock")
	w.answers(alice, asked, "confirmed")
}

// With cross-signed, a device reads once its owner has signed it; nobody has to compare anything.
func TestOnlySignedDevices(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *harness.Settings) { s.Extra = "crypto: {trust: cross-signed}\n" })
	alice := w.person("alice", "alice")
	room := w.doorRoom(alice)
	second := w.device("alice's tablet", "alice")
	w.joined(second, room, alice.UserID)
	e := w.happensFor("for the signed", alice)
	w.blind(second, e.ID)
	w.must(second.CrossSignWith(w.ctx, alice.Keys))
	w.until("the signature to be seen", func() bool {
		text := plant("for both")
		w.happens(text)
		e := w.shows(alice, text)
		_, err := second.Await(w.soon(), "the same", func(s Event) bool { return s.ID == e.ID })
		w.must(err)
		for _, s := range second.Events(room) {
			if s.ID == e.ID {
				return s.Error == ""
			}
		}
		return false
	})
	// What is asked for by a device that nobody signed is done all the same: that is commands.require_verified.
	third := w.device("alice's telephone", "alice")
	w.joined(third, room, alice.UserID)
	asked := w.say(third, room, "!unlock")
	w.answers(alice, asked, "confirmed")
}

// Who resets their identity reads nothing more until somebody at the gateway has accepted it.
func TestAnIdentityThatIsReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(s *harness.Settings) { s.Extra = "crypto: {trust: cross-signed}\n" })
	alice, bob := w.person("alice", "alice"), w.person("bob", "bob")
	room := w.doorRoom(alice)
	w.joined(bob, room, bob.UserID)
	w.joined(alice, room, bob.UserID)
	w.happensFor("for both", alice, bob)
	_, err := bob.CrossSign(w.ctx)
	w.must(err)
	w.until("bob to be shut out", func() bool {
		e := w.happensFor("after the reset", alice)
		_, err := bob.Await(w.soon(), "the same", func(b Event) bool { return b.ID == e.ID })
		w.must(err)
		for _, b := range bob.Events(room) {
			if b.ID == e.ID {
				return b.Error != ""
			}
		}
		return false
	})
	r, err := w.gate.Do(w.ctx, "verify", "--accept", bob.UserID)
	w.must(err)
	if r.Code != 0 {
		t.Fatal(r.Stderr)
	}
	w.happensFor("after it was accepted", alice, bob)
	if r, err := w.gate.Do(w.ctx, "verify", "--accept", "@nobody:localhost"); err != nil || r.Code != 1 || !strings.Contains(r.Stderr, "no keys") {
		t.Errorf("%+v, %v", r, err)
	}
}

// blind waits until a device has an event that it can't read.
func (w *world) blind(d *Device, id string) {
	w.t.Helper()
	_, err := d.Await(w.soon(), "an event without its key", func(e Event) bool { return e.ID == id && e.Error != "" })
	w.must(err)
}

// restart starts gatepost again without files of its store's folder.
func (w *world) restart(without ...string) {
	w.t.Helper()
	w.gate.Kill()
	for _, file := range without {
		w.must(os.Remove(filepath.Join(w.gate.Dir, "data", file)))
	}
	w.must(w.gate.Start(w.ctx))
}

const (
	keysFile  = "gatepost-crypto.db"
	seedsFile = "gatepost-identity.sealed"
)

// Whatever of the keys is lost, the bot becomes the same one again to who has verified it; or it says that it cannot.
func TestTheBotStaysTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	alice := w.person("alice", "alice")
	room := w.doorRoom(alice)
	first := w.signed()
	v, err := alice.AskInRoom(w.ctx, w.bot, room)
	w.must(err)
	w.verifies(alice, v)
	same := func(when string) verifyInfo {
		t.Helper()
		now := w.signed()
		w.happensFor(when, alice)
		trust, err := alice.Trust(w.ctx, w.bot)
		w.must(err)
		for _, d := range trust.Devices {
			if d.ID == now.Device && !d.Verified {
				t.Errorf("%s: the bot's device is %+v", when, d)
			}
		}
		if !trust.Verified {
			t.Errorf("%s: the bot is not verified any more", when)
		}
		return now
	}
	if now := same("nothing is lost"); now.Device != first.Device {
		t.Error("a new device for nothing")
	}

	w.restart(keysFile)
	second := same("the keys are lost")
	if second.Device == first.Device || second.Fingerprint == first.Fingerprint {
		t.Error("a device whose keys were lost was brought back")
	}

	r, err := w.gate.Do(w.ctx, "verify", "--setup")
	w.must(err)
	lines := strings.Split(r.Stdout, "\n")
	if r.Code != 0 || len(lines) < 3 {
		t.Fatalf("verify --setup: %d %s%s", r.Code, r.Stdout, r.Stderr)
	}
	key := filepath.Join(w.dir, "recovery.txt")
	w.must(os.WriteFile(key, []byte(strings.TrimSpace(lines[2])+"\n"), 0o600))
	w.restart(keysFile, seedsFile)
	w.until("word that the device is not signed", func() bool {
		now := w.identity()
		return !now.Signed && strings.Contains(now.Problem, "seeds are not here")
	})
	r, err = w.gate.Do(w.ctx, "verify", "--recovery-key-file", key)
	w.must(err)
	if r.Code != 0 {
		t.Fatalf("verify --recovery-key-file: %s", r.Stderr)
	}
	same("seeds and keys are lost")

	// A backup brings the seeds back, and never a ratchet.
	backup := filepath.Join(w.dir, "backup.tar")
	r, err = w.gate.Do(w.ctx, "backup", backup)
	w.must(err)
	if r.Code != 0 {
		t.Fatalf("backup: %s", r.Stderr)
	}
	before := same("before the restore")
	_, err = w.gate.Stop(20 * time.Second)
	w.must(err)
	w.must(os.RemoveAll(filepath.Join(w.gate.Dir, "data")))
	r, err = w.gate.Do(w.ctx, "restore", backup)
	w.must(err)
	if r.Code != 0 {
		t.Fatalf("restore: %s", r.Stderr)
	}
	w.must(w.gate.Start(w.ctx))
	if after := same("after the restore"); after.Device == before.Device {
		t.Error("a restore brought a device back to life")
	}
	w.sealed(alice, room)
}
