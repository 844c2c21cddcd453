package leg

import (
	"context"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/voip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	record = voip.Record{ID: "C1", Room: "!hall:example.org", Person: "@alice:example.org", Peer: "PHONE"}
	zero   = 0
)

// TestEncode holds the protocol to the letter: devices are written against it.
func TestEncode(t *testing.T) {
	turn := &TURN{URIs: []string{"turn:198.51.100.1:3478?transport=udp"}, Username: "1:zz1", Password: "p", TTL: 600}
	offer, answer := voip.Description{Type: "offer", SDP: "v=0"}, voip.Description{Type: "answer", SDP: "v=0"}
	const turned = `,"turn":{"uris":["turn:198.51.100.1:3478?transport=udp"],"username":"1:zz1","password":"p","ttl":600}}`
	for want, e := range map[string]voip.Effect{
		`{"v":1,"type":"ring","call_id":"C1","person":"@alice:example.org","lifetime":10000` + turned:                                                                                                                                       voip.LegPrepare{},
		`{"v":1,"type":"invite","call_id":"C1","party_id":"PHONE","person":"@alice:example.org","offer":{"type":"offer","sdp":"v=0"},"sdp_stream_metadata":{"s":{"purpose":"m.usermedia","audio_muted":false,"video_muted":true}}` + turned: voip.LegInvite{Offer: offer, Streams: voip.Streams{"s": {Purpose: "m.usermedia", VideoMuted: true}}},
		`{"v":1,"type":"invite","call_id":"C1","party_id":"PHONE","person":"@alice:example.org","auto":true,"offer":{"type":"offer","sdp":"v=0"}` + turned:                                                                                  voip.LegInvite{Offer: offer, Auto: true},
		`{"v":1,"type":"answer","call_id":"C1","party_id":"PHONE","dtmf":true,"answer":{"type":"answer","sdp":"v=0"}}`:                                                                                                                      voip.LegAnswer{Answer: answer, DTMF: true},
		`{"v":1,"type":"candidates","call_id":"C1","candidates":[{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0},{"candidate":""}]}`:                                                                                             voip.LegAdd{List: []voip.Candidate{{Candidate: "candidate:1", MID: "0", Index: &zero}, {}}},
		`{"v":1,"type":"negotiate","call_id":"C1","description":{"type":"offer","sdp":"v=0"}}`:                                                                                                                                              voip.LegNegotiate{Desc: offer},
		`{"v":1,"type":"negotiate_stands","call_id":"C1"}`:  voip.LegOfferStands{},
		`{"v":1,"type":"negotiate_dropped","call_id":"C1"}`: voip.LegOfferDropped{},
		`{"v":1,"type":"sdp_stream_metadata_changed","call_id":"C1","sdp_stream_metadata":{"s":{"purpose":"m.usermedia","audio_muted":true,"video_muted":false}}}`: voip.LegStreams{Streams: voip.Streams{"s": {Purpose: "m.usermedia", AudioMuted: true}}},
		`{"v":1,"type":"hangup","call_id":"C1","reason":"user_hangup"}`:                                                                                            voip.LegClose{Reason: voip.UserHangup},
	} {
		if got, ok := encode(e, record, 10*time.Second, map[bool]*TURN{true: turn}[strings.Contains(want, `"turn"`)]); !ok || string(got) != want {
			t.Errorf("%T: %s\nwant %s", e, got, want)
		}
	}
	if got, ok := encode(voip.SendHangup{}, record, 0, nil); ok {
		t.Errorf("what is for the person goes to the device: %s", got)
	}
}

func TestDecode(t *testing.T) {
	offer, answer := voip.Description{Type: "offer", SDP: "v=0"}, voip.Description{Type: "answer", SDP: "v=0"}
	for payload, want := range map[string]any{
		`{"v":1,"type":"ring"}`: rings{},
		`{"v":1,"type":"invite","call_id":"C1","offer":{"type":"offer","sdp":"v=0"},"sdp_stream_metadata":{"s":{"purpose":"m.usermedia"}}}`:        voip.LegOffered{Offer: offer, Streams: voip.Streams{"s": {Purpose: "m.usermedia"}}},
		`{"v":1,"type":"answer","call_id":"C1","answer":{"type":"answer","sdp":"v=0"},"a_field_of_tomorrow":[]}`:                                   voip.LegAnswered{Answer: answer},
		`{"v":1,"type":"candidates","call_id":"C1","candidates":[{"candidate":"c","sdpMid":"0","sdpMLineIndex":0},{"candidate":"","sdpMid":"0"}]}`: voip.LegCandidates{List: []voip.Candidate{{Candidate: "c", MID: "0", Index: &zero}, {}}},
		`{"v":1,"type":"negotiate","call_id":"C1","description":{"type":"answer","sdp":"v=0"}}`:                                                    voip.LegNegotiated{Desc: answer},
		`{"v":1,"type":"hangup","call_id":"C1","reason":"ice_failed"}`:                                                                             voip.LegHungUp{Reason: voip.ICEFailed},
		`{"v":1,"type":"reject","call_id":"C1","reason":"user_busy"}`:                                                                              voip.LegHungUp{Reason: voip.UserBusy},
	} {
		if _, got, err := decode([]byte(payload)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", payload, got, err)
		}
	}
	for name, payload := range map[string]string{
		"nothing": ``, "no object": `7`, "no version": `{"type":"ring"}`, "another version": `{"v":2,"type":"ring"}`, "no type": `{"v":1,"call_id":"C1"}`,
		"no call": `{"v":1,"type":"hangup"}`, "a long call": `{"v":1,"type":"hangup","call_id":"` + strings.Repeat("x", 256) + `"}`,
		"a type for devices": `{"v":1,"type":"sdp_stream_metadata_changed","call_id":"C1"}`, "a key that was pressed": `{"v":1,"type":"dtmf","call_id":"C1","digits":"9"}`,
		"no offer": `{"v":1,"type":"invite","call_id":"C1"}`, "an answer as offer": `{"v":1,"type":"invite","call_id":"C1","offer":{"type":"answer","sdp":"v=0"}}`,
		"a giant SDP":         `{"v":1,"type":"answer","call_id":"C1","answer":{"type":"answer","sdp":"` + strings.Repeat("x", voip.MaxSDP+1) + `"}}`,
		"a megabyte":          `{"v":1,"type":"answer","call_id":"C1","answer":{"type":"answer","sdp":"` + strings.Repeat("x", 1<<20) + `"}}`,
		"many candidates":     `{"v":1,"type":"candidates","call_id":"C1","candidates":[` + strings.Repeat(`{},`, 64) + `{}]}`,
		"a long candidate":    `{"v":1,"type":"candidates","call_id":"C1","candidates":[{"candidate":"` + strings.Repeat("x", 1025) + `"}]}`,
		"a long reason":       `{"v":1,"type":"hangup","call_id":"C1","reason":"` + strings.Repeat("x", 256) + `"}`,
		"an empty stream id":  `{"v":1,"type":"answer","call_id":"C1","answer":{"type":"answer","sdp":"v=0"},"sdp_stream_metadata":{"":{}}}`,
		"an odd description":  `{"v":1,"type":"negotiate","call_id":"C1","description":{"type":"rollback","sdp":"v=0"}}`,
		"a list as candidate": `{"v":1,"type":"candidates","call_id":"C1","candidates":[[]]}`,
	} {
		if _, got, err := decode([]byte(payload)); !errors.Is(err, ErrMalformed) || len(err.Error()) > 200 {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// wire is the broker: what the device was told, and whether it can be reached.
type wire struct {
	mu   sync.Mutex
	said []string
	down error
}

func (w *wire) publish(_ context.Context, payload []byte) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down != nil {
		return w.down
	}
	var m message
	if err := json.Unmarshal(payload, &m); err != nil {
		return err
	}
	w.said = append(w.said, m.Type+" "+m.CallID)
	return nil
}

func (w *wire) log() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.said, ", ")
}

// device runs a Signals on a wire.
func device(t *testing.T, w *wire, cfg SignalsConfig) (s *Signals, stop func()) {
	cfg.Publish = w.publish
	s, err := NewSignals(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Run(ctx) }()
	return s, func() { cancel(); <-done }
}

func open(t *testing.T, s *Signals, id ids.CallID) (voip.Leg, voip.Record, chan voip.Event) {
	t.Helper()
	r := record
	r.ID = id
	said := make(chan voip.Event, 100)
	l, err := s.Open(voip.Key{}, r, func(ev voip.Event) { said <- ev })
	if err != nil {
		t.Fatal(err)
	}
	return l, r, said
}

func TestSignals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w wire
		rang := 0
		s, stop := device(t, &w, SignalsConfig{Rings: func() { rang++ }})
		l, r, said := open(t, s, "zz1")
		for _, e := range []voip.Effect{voip.LegPrepare{}, voip.LegAnswer{}, voip.LegAdd{}} {
			l.Do(r, e)
		}
		for _, p := range []string{
			`{"v":1,"type":"ring"}`, `{"v":1,"type":"hangup","call_id":"of another life"}`, `{"v":1,"type":"invite","call_id":"zz1","offer":{"type":"offer","sdp":"v=0"}}`,
		} {
			if err := s.Receive([]byte(p)); err != nil {
				t.Error(err)
			}
		}
		if err := s.Receive([]byte(`{}`)); !errors.Is(err, ErrMalformed) {
			t.Error(err)
		}
		synctest.Wait()
		if got := w.log(); got != "ring zz1, answer zz1, candidates zz1" || rang != 1 || len(said) != 2 {
			t.Errorf("%s; rang %d, said %d", got, rang, len(said))
		}
		l.Do(r, voip.LegClose{Reason: voip.UserHangup})
		stop() // the device hears the end all the same
		if got := w.log(); !strings.HasSuffix(got, ", hangup zz1") {
			t.Error(got)
		}
		if err := s.Receive([]byte(`{"v":1,"type":"hangup","call_id":"zz1"}`)); err != nil || len(said) != 2 {
			t.Errorf("%v; after the end it says %d", err, len(said))
		}
	})
}

// A device that can't be reached has no call.
func TestSignalsOfADeviceThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := wire{down: errors.New("no broker")}
		s, stop := device(t, &w, SignalsConfig{})
		l, r, said := open(t, s, "C1")
		l.Do(r, voip.LegInvite{})
		if ev := <-said; ev != (voip.LegHungUp{Reason: voip.MediaFailed}) {
			t.Errorf("%+v", ev)
		}
		stop()
	})
}

// Two people choose one id: the device could not tell them apart.
func TestSignalsSameCall(t *testing.T) {
	s, stop := device(t, &wire{}, SignalsConfig{})
	defer stop()
	open(t, s, "C1")
	if _, err := s.Open(voip.Key{}, record, nil); !errors.Is(err, ErrSameCall) {
		t.Error(err)
	}
}

// What a device does not take ends its call, and holds up nobody.
func TestSignalsQueueIsBounded(t *testing.T) {
	s, err := NewSignals(SignalsConfig{Publish: (&wire{}).publish}) // Run is not there: the broker hangs
	if err != nil {
		t.Fatal(err)
	}
	l, r, said := open(t, s, "C1")
	for range queue + 1 {
		l.Do(r, voip.LegAdd{})
	}
	if ev := <-said; ev != (voip.LegHungUp{Reason: voip.MediaFailed}) {
		t.Errorf("%+v", ev)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"v":1,"type":"invite","call_id":"C1","offer":{"type":"offer","sdp":"v=0"},"sdp_stream_metadata":{"s":{"purpose":"m.usermedia"}}}`))
	f.Add([]byte(`{"v":1,"type":"candidates","call_id":"C1","candidates":[{"candidate":"c","sdpMid":null,"sdpMLineIndex":-1}]}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		call, said, err := decode(payload)
		if err == nil && (said == nil || !isRings(said) && (call == "" || len(call) > maxCallID)) {
			t.Fatalf("%q %v", call, said)
		}
	})
}

func isRings(said any) bool { _, ok := said.(rings); return ok }
