//go:build fault

package fault

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// Files that cannot be read end gatepost at once, with the exit code that tells a service manager not to try again.
func TestStoreThatCannotBeRead(t *testing.T) {
	events := scaled(t, 200)
	w := newWorld(t, 3*time.Minute, func(s *harness.Settings) { s.Devices = numbered })
	w.ok(w.gp.Start(w.ctx))
	c := newCrowd(w, w.mqtt, events, time.Millisecond, 100)
	c.allow(0, 1)
	c.finish()
	w.gp.Kill()
	file := filepath.Join(w.gp.Dir, "data", "gatepost.db")
	whole, err := os.ReadFile(file)
	w.ok(err)

	for _, damage := range []struct {
		name  string
		bytes []byte
		says  []string
	}{
		{"cut to 32 KiB", whole[:32<<10], []string{"gatepost.db", "cut short", "restore a backup"}},
		{"cut to 100 bytes", whole[:100], []string{"gatepost.db", "restore a backup"}},
		{"empty", nil, []string{"gatepost.db", "restore a backup"}},
		{"of random bytes", noise(w, len(whole)), []string{"gatepost.db", "restore a backup"}},
		{"of a newer gatepost", newerSchema(t, whole), []string{"newer gatepost", "schema 99", "install"}},
	} {
		w.ok(os.WriteFile(file, damage.bytes, 0o600))
		code, text := w.refusedStart()
		harness.Equal(t, "store "+damage.name+": exit code", code, 4, "-")
		for _, want := range damage.says {
			if !strings.Contains(text, want) {
				t.Errorf("a store %s: %q is not in what gatepost says:\n%s", damage.name, want, text)
			}
		}
		now, err := os.ReadFile(file)
		w.ok(err)
		changed := 0
		if !bytes.Equal(now, damage.bytes) {
			changed = 1
		}
		harness.Zero(t, "store "+damage.name+": file changed", changed, "files")
	}

	w.ok(os.WriteFile(file, whole, 0o600))
	w.ok(w.gp.Start(w.ctx))
	r, err := w.gp.Do(w.ctx, "run")
	w.ok(err)
	harness.Equal(t, "store locked: exit code of the second gatepost", r.Code, 1, "-")
	if who := fmt.Sprintf("process %d holds", w.gp.PID()); !strings.Contains(r.Stderr, who) {
		t.Errorf("a locked store: %q is not in what gatepost says:\n%s", who, r.Stderr)
	}
	if !w.gp.Running() {
		t.Error("the first gatepost ended because of the second")
	}
}

// refusedStart runs gatepost, which is to end by itself, and returns its exit code and what it wrote.
func (w *world) refusedStart() (code int, text string) {
	w.t.Helper()
	n := w.gp.Log().Len()
	w.ok(w.gp.Launch())
	ctx, cancel := context.WithTimeout(w.ctx, 10*time.Second)
	defer cancel()
	code, err := w.gp.Wait(ctx)
	if err != nil {
		w.gp.Kill()
		w.t.Errorf("gatepost runs with a store that it cannot read: %v", err)
	}
	return code, strings.Join(w.gp.Log().Since(n), "\n")
}

func noise(w *world, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(w.rng.Uint32())
	}
	return b
}

// newerSchema is the file as a later gatepost would leave it: with another number as its schema. It stands behind its key
// in an envelope: format 1, CRC32C of format and number, the number.
func newerSchema(t *testing.T, file []byte) []byte {
	t.Helper()
	envelope := func(version byte) []byte {
		sum := crc32.Checksum([]byte{1, version}, crc32.MakeTable(crc32.Castagnoli))
		return append(binary.LittleEndian.AppendUint32([]byte("schema\x01"), sum), version)
	}
	newer := bytes.ReplaceAll(file, envelope(1), envelope(99))
	if bytes.Equal(newer, file) {
		t.Fatal("the store's file does not have its schema where this test looks for it")
	}
	return newer
}

// One bit of one record is wrong: that one is set aside and reported, the rest is delivered.
func TestStoreWithAWrongBit(t *testing.T) {
	w := newWorld(t, 3*time.Minute, func(s *harness.Settings) { s.Devices = numbered })
	w.ok(w.gp.Start(w.ctx))
	events := scaled(t, 200)
	c := newCrowd(w, w.mqtt, events, time.Millisecond, 0)
	c.allow(0, c.each)
	w.settle(crowdSize)
	w.ok(w.hs.Stop())
	for k := 1; k < c.each; k++ {
		c.allow(k, c.each)
	}
	needle := "n7-needle-in-the-store"
	client := w.connect(device.Config{Addr: w.mqtt, ClientID: "needle"})
	payload := fmt.Sprintf(`{"n":%d,"pad":%q}`, c.each, needle)
	w.ok(client.Publish(w.ctx, device.Message{Topic: "fault/" + crowdName(7) + "/event", Payload: []byte(payload), QoS: 1}))
	c.wg.Wait()
	w.gp.Kill()

	file := filepath.Join(w.gp.Dir, "data", "gatepost.db")
	data, err := os.ReadFile(file)
	w.ok(err)
	wrong := strings.Replace(needle, "d", "e", 1) // d and e differ in one bit
	harness.Note(t, "store with a wrong bit: places", bytes.Count(data, []byte(needle)), "places")
	w.ok(os.WriteFile(file, bytes.ReplaceAll(data, []byte(needle), []byte(wrong)), 0o600))
	n := w.gp.Log().Len()
	w.ok(w.hs.Start(w.ctx))
	w.ok(w.gp.Start(w.ctx))
	w.settle(c.total() + 1) // and the notice that one is missing
	sum := c.count()
	harness.Equal(t, "store with a wrong bit: other events in the rooms", sum.found, c.total(), "events")
	harness.Zero(t, "store with a wrong bit: damaged text in a room", strings.Count(strings.Join(sum.strange, "\n"), wrong), "events")
	harness.Equal(t, "store with a wrong bit: gap notices", strings.Count(strings.Join(sum.strange, "\n"), "1 message left out here"), 1, "notices")
	harness.Equal(t, "store with a wrong bit: reports in the log", strings.Count(strings.Join(w.gp.Log().Since(n), "\n"), "aside"), 1, "lines")
	told := 0
	w.alice.View(func(rooms map[string]*harness.Room) {
		for _, r := range rooms {
			for _, m := range r.Messages() {
				if r.Alias == "#gatepost:localhost" && strings.Contains(m.Content.Body, "damaged") {
					told++
				}
			}
		}
	})
	harness.Note(t, "store with a wrong bit: reports in the control room", told, "messages")
}

// The store reaches its own limit: what comes then is not acknowledged, people and /readyz are told, and once the
// homeserver takes something again there is room and everything goes on.
func TestStoreAtItsLimit(t *testing.T) {
	overfill(t, "store at its limit", func(w *world) {
		s, err := os.ReadFile(w.gp.Config)
		w.ok(err)
		w.ok(w.gp.Configure(strings.Replace(string(s), "store: {path: data}", "store: {path: data, max_size: 8MiB}", 1)))
	}, func(*world) {}, func(*world) {})
}

// overfill publishes 13 MB in events while the homeserver is away. prepare is called before gatepost runs, full once there
// are rooms and the homeserver is away, relieve when it is back.
func overfill(t *testing.T, name string, prepare, full, relieve func(*world)) {
	const events = 3200 // not scaled: fewer would not fill it
	w := newWorld(t, 10*time.Minute, func(s *harness.Settings) { s.Devices = numbered })
	prepare(w)
	w.ok(w.gp.Start(w.ctx))
	c := newCrowd(w, w.mqtt, events, time.Millisecond, 3900)
	c.allow(0, c.each)
	w.settle(crowdSize)
	w.ok(w.hs.Stop())
	full(w)
	for k := 1; k < c.each; k++ {
		c.allow(k, c.each)
	}
	w.poll("the store to be full", 100*time.Millisecond, func() bool { return strings.Contains(w.notReady(), "full") })
	w.pause(time.Second)
	before := c.acked.Load()
	harness.Note(t, name+": acknowledged before", before, "events")
	w.pause(5 * time.Second)
	harness.Zero(t, name+": acknowledged in 5 s while full", int(c.acked.Load()-before), "events")
	status, _, err := w.gp.Get(w.ctx, "/readyz")
	w.ok(err)
	harness.Equal(t, name+": /readyz", status, http.StatusServiceUnavailable, "-")

	w.gp.Kill() // and it must come up again as it is
	w.ok(w.gp.Launch())
	w.poll("gatepost to be up with a full store", 100*time.Millisecond, func() bool { return strings.Contains(w.notReady(), "full") })
	late := int(c.acked.Load() - before) // a smaller batch than the one that was refused may still get in
	harness.Figure(t, name+": acknowledged after a kill while full", late, "events", "<= 32", late <= 32)

	began := time.Now()
	w.ok(w.hs.Start(w.ctx))
	relieve(w)
	w.poll("acknowledgements", 10*time.Millisecond, func() bool { return c.acked.Load() > before })
	harness.Note(t, name+": first acknowledgement after there is room", time.Since(began).Round(10*time.Millisecond).Seconds(), "s")
	c.finish()
	w.poll("gatepost to be ready", 100*time.Millisecond, w.ready)
	c.report(name, false)
}

// notReady is what /readyz says; "" when gatepost is ready or does not answer.
func (w *world) notReady() string {
	status, body, err := w.gp.Get(w.ctx, "/readyz")
	if err != nil || status == http.StatusOK {
		return ""
	}
	return body
}
