//go:build fault

package fault

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// Somebody fills the disk for half a minute while messages for a session that is away arrive. Meanwhile nobody is locked
// out; afterwards everything goes on by itself and nothing that was acknowledged is missing.
func TestBrokerOnAFullDisk(t *testing.T) {
	needRoot(t)
	const crowd, each, full = 8, 750, 30 * time.Second
	s := planSite(t, 5*time.Minute, folder(t), "")
	disk := filepath.Join(s.Dir, "data")
	s.ok(os.MkdirAll(disk, 0o700))
	s.ok(mount(disk, "32m"))
	t.Cleanup(func() { s.Kill(); s.ok(unmount(disk)) })
	s.start()
	pid := s.PID()
	s.session("away", 1, "d/#")
	p := s.publish(crowd, each, 1000, "d/x", crowd*each/6)
	s.poll("some messages", func() bool { return p.acked.Load() >= crowd*each/6 })

	others := filepath.Join(disk, "somebody-elses")
	s.ok(fill(others, disk, 128<<10))
	p.room.Store(crowd * each)
	probes, refused, kept, known := 0, 0, 0, ""
	began := time.Now()
	stuck := p.acked.Load()
	for time.Since(began) < full {
		s.pause(time.Second)
		probes++
		if err := s.probe(device.Login{ClientID: fmt.Sprint("probe", probes), Clean: true}); err != nil {
			refused++
			known = err.Error()
		}
		if err := s.probe(device.Login{ClientID: fmt.Sprint("keeper", probes)}); err != nil {
			kept++
		}
		if time.Since(began) < full/2 {
			stuck = p.acked.Load()
		}
	}
	name := "broker on a full disk: "
	s.calm(p)
	harness.Figure(t, name+"the process lives", s.PID() == pid, "-", "true", s.PID() == pid)
	s.restart()
	pid = s.PID()
	err := s.probe(device.Login{ClientID: "reborn", Clean: true})
	harness.Figure(t, name+"killed, it starts again and serves", err == nil, "-", "true", err == nil)
	moved := int(p.acked.Load() - stuck)
	harness.Figure(t, name+"messages that wait for space", crowd*each-int(p.acked.Load()), "messages", "> 0", p.acked.Load() < crowd*each)
	harness.Note(t, name+"acknowledged in its second half", moved, "messages")
	harness.Note(t, name+"clients that came meanwhile", probes, "clients")
	harness.Zero(t, name+"of them not let in, or not served", refused, "clients")
	if known != "" {
		t.Logf("the last of them: %s", known)
	}
	harness.Note(t, name+"clients that wanted a new session and were told to come later", kept, "clients")

	s.ok(os.Remove(others))
	began = time.Now()
	s.poll("the publishers to get on", func() bool { return p.acked.Load() == crowd*each })
	harness.Note(t, name+"from space to all acknowledged", time.Since(began).Milliseconds(), "ms")
	harness.Figure(t, name+"no restart was needed", s.PID() == pid, "-", "true", s.PID() == pid)
	s.ok(s.probe(device.Login{ClientID: "keeper"}))
	s.restart()
	got := newReceipts()
	got.read(t, s.dial(device.Login{ClientID: "away"}), crowd*each)
	got.report(t, name, p.list())
}

// probe logs in, subscribes, publishes with QoS 0 and gets its message.
func (s *site) probe(l device.Login) error {
	l.Addr = s.addr
	r, err := device.Dial(l)
	if err != nil {
		return err
	}
	defer r.Close()
	topic := "probe/" + l.ClientID
	codes, err := r.Subscribe(1, 0, topic)
	if err != nil {
		return err
	}
	if len(codes) != 1 || codes[0] > 2 {
		return fmt.Errorf("SUBACK %v", codes)
	}
	if err := r.Send(device.Message{Topic: topic, Payload: []byte("x")}, 0); err != nil {
		return err
	}
	_, err = r.Next(10 * time.Second)
	return err
}

// The broker's own file reaches its limit. Those who publish wait; the session's client takes what is there, which makes
// room, and then all of it arrives.
func TestBrokerWithItsFileFull(t *testing.T) {
	const crowd, each = 8, 2500
	s := planSite(t, 5*time.Minute, folder(t), "")
	yaml, err := os.ReadFile(s.Config)
	s.ok(err)
	s.ok(s.Configure(strings.Replace(string(yaml), "path: data", "path: data, max_size: 8MiB", 1)))
	s.start()
	s.session("away", 1, "d/#")
	p := s.publish(crowd, each, 1000, "d/x", crowd*each) // three times what there is room for
	s.calm(p)
	name := "broker with its file full: "
	held := p.acked.Load()
	harness.Figure(t, name+"messages acknowledged, the rest waits", held, "messages", fmt.Sprintf("> 500, < %d", crowd*each), held > 500 && held < crowd*each)
	err = s.probe(device.Login{ClientID: "probe", Clean: true})
	harness.Figure(t, name+"a client is served meanwhile", err == nil, "-", "true", err == nil)
	s.restart()
	got := newReceipts()
	away := s.dial(device.Login{ClientID: "away"})
	for got.take(t, away, 2*quiet) {
	}
	s.calm(p)
	for got.take(t, away, quiet) {
	}
	harness.Equal(t, name+"acknowledged once its client is there", int(p.acked.Load()), crowd*each, "messages")
	got.report(t, name, p.list())
}
