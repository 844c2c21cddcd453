package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/voip/media"
)

// small is a device on libpeer, as its signalling over MQTT shows it.
type small struct {
	t       *testing.T
	p       *peer
	offered string // its description instead of one of p
	code    int    // it says this error to offers
	mute    bool   // it says nothing
	device  *Libpeer
	wg      sync.WaitGroup

	mu     sync.Mutex
	asked  []string
	answer string
}

func newSmall(t *testing.T, s *small) *Libpeer {
	t.Helper()
	s.t = t
	var err error
	s.device, err = NewLibpeer(LibpeerConfig{Loopback: true, Publish: func(_ context.Context, payload []byte) error {
		s.wg.Go(func() { s.hear(payload) })
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.wg.Wait)
	return s.device
}

func (s *small) hear(payload []byte) {
	var m struct {
		Version string `json:"jsonrpc"`
		ID      int    `json:"id"`
		Method  string `json:"method"`
		Params  string `json:"params"`
	}
	if err := json.Unmarshal(payload, &m); err != nil || m.Version != "2.0" || m.ID <= 0 {
		s.t.Errorf("the device heard %s", payload)
	}
	s.mu.Lock()
	s.asked = append(s.asked, m.Method)
	s.mu.Unlock()
	switch {
	case s.mute:
	case m.Method == "offer" && s.code != 0:
		s.say(`{"jsonrpc":"2.0","id":%d,"error":{"code":%d,"message":"no"}}`, m.ID, s.code)
	case m.Method == "offer":
		text := s.offered
		if text == "" {
			s.p.add()
			text = s.p.local(s.p.pc.CreateOffer(nil))
		}
		b, _ := json.Marshal(text)
		s.say(`{"jsonrpc":"2.0","id":%d,"result":"of another request"}`, m.ID+100)
		s.say(`{"jsonrpc":"2.0","id":%d,"result":%s}`, m.ID, b)
		s.say(`{"jsonrpc":"2.0","id":%d,"result":%s}`, m.ID, b)
	case m.Method == "answer":
		s.mu.Lock()
		s.answer = m.Params
		s.mu.Unlock()
		s.p.remote(webrtc.SDPTypeAnswer, m.Params)
	case m.Method == "close":
		s.say(`{"jsonrpc":"2.0","id":%d,"result":""}`, m.ID)
	}
}

func (s *small) say(format string, args ...any) {
	if err := s.device.Receive(fmt.Appendf(nil, format, args...)); err != nil {
		s.t.Error(err)
	}
}

func TestLibpeer(t *testing.T) {
	s := &small{p: newPeer(t, media.PCMA())}
	device := newSmall(t, s)
	s.p.play()
	c := open(t, device.Source())
	c.start()
	// The device offers three codecs for its sound, and the packets show which it is.
	s.p.talks(c, media.PCMA())
	s.mu.Lock()
	answer := s.answer
	s.mu.Unlock()
	for line := range strings.Lines(answer) {
		if !strings.HasSuffix(line, "\r\n") || len(line) > 257 {
			t.Errorf("line %q", line)
		}
	}
	for _, want := range []string{"a=setup:active", "a=fingerprint:sha-256", "a=ssrc:", "a=sendrecv"} {
		if !strings.Contains(answer, want) {
			t.Errorf("no %s in %s", want, answer)
		}
	}
	if n := strings.Count(answer, "a=candidate:"); n == 0 || n > 10 {
		t.Errorf("%d candidates", n)
	}
	s.p.gone(c)
	if err := c.src.Close(); err != nil {
		t.Error(err)
	}
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := strings.Join(s.asked, " "); got != "offer answer close" {
		t.Errorf("the device was asked %s", got)
	}
}

func TestLibpeerRefusals(t *testing.T) {
	const garbage = "The device makes an offer that can't be understood."
	for name, c := range map[string]struct {
		s    *small
		want string
	}{
		"error":      {&small{code: -32603}, "The device refuses the call."},
		"garbage":    {&small{offered: "no description"}, garbage},
		"half":       {&small{offered: "v=0\r\no=- 0 0 IN IP4 0\r\n"}, garbage},
		"long lines": {&small{offered: "v=0\r\n" + strings.Repeat("x", 60000)}, garbage},
	} {
		t.Run(name, func(t *testing.T) {
			if words, text := fails(t, newSmall(t, c.s).Source()); words != c.want {
				t.Errorf("%q (%s), want %q", words, text, c.want)
			}
		})
	}
	src := newSmall(t, &small{mute: true}).Source()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var f *media.Failure
	if _, err := src.Open(ctx); !errors.As(err, &f) || f.Text != "The device does not answer." {
		t.Errorf("a mute device: %v", err)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
	gone := errors.New("not connected")
	l, err := NewLibpeer(LibpeerConfig{Publish: func(context.Context, []byte) error { return gone }})
	if err != nil {
		t.Fatal(err)
	}
	src = l.Source()
	if _, err := src.Open(context.Background()); !errors.Is(err, gone) || !errors.As(err, &f) || f.Text != "The device can't be reached." {
		t.Errorf("an absent device: %v", err)
	}
	if err := src.Close(); !errors.Is(err, gone) {
		t.Errorf("closed: %v", err)
	}
}

func TestForDevice(t *testing.T) {
	text := "v=0\na=extmap:1 x\na=rtcp-fb:96 nack\na=ssrc:1 cname:x\n"
	for i := range 20 {
		text += fmt.Sprintf("a=candidate:%d 1 udp 1 10.0.0.%d 5000 typ host\n", i/2, i)
	}
	text += "a=candidate:90 1 udp 1 fd00::1 5000 typ host\na=candidate:91 2 udp 1 10.0.0.1 5000 typ host\na=candidate:92 1 tcp 1 10.0.0.1 5000 typ host\n"
	got, err := forDevice(text)
	if err != nil || strings.Count(got, "a=candidate:") != 10 || strings.Contains(got, "extmap") || strings.Contains(got, "rtcp-fb") || strings.Contains(got, "fd00") || !strings.HasPrefix(got, "v=0\r\na=ssrc:1 cname:x\r\na=candidate:0 ") {
		t.Errorf("%v: %s", err, got)
	}
	if _, err := forDevice("a=" + strings.Repeat("x", 300)); err == nil {
		t.Error("a long line")
	}
	if _, err := encodeRequest(rpcRequest{ID: 1, Method: "answer", Params: strings.Repeat("x", maxRequest)}); err == nil {
		t.Error("a long request")
	}
}

func TestDecodeReply(t *testing.T) {
	for text, want := range map[string]rpcReply{
		`{"jsonrpc":"2.0","id":7,"result":"v=0"}`:                                   {ID: 7, Result: "v=0"},
		`{"jsonrpc":"2.0","id":7,"result":""}`:                                      {ID: 7},
		`{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"no such"}}`:      {ID: 7, Code: -32601},
		`{"jsonrpc":"2.0","id":0,"result":"v=0"}`:                                   {},
		`{"jsonrpc":"2.0","result":"v=0"}`:                                          {},
		`{"jsonrpc":"1.0","id":7,"result":"v=0"}`:                                   {},
		`{"jsonrpc":"2.0","id":7,"result":{"sdp":"v=0"}}`:                           {},
		`{"jsonrpc":"2.0","id":7}`:                                                  {},
		`{"jsonrpc":"2.0","id":7,"error":{"message":"no"}}`:                         {},
		`{"jsonrpc":"2.0","id":7.5,"result":""}`:                                    {},
		`[]`:                                                                        {},
		`{"jsonrpc":"2.0","id":7,"result":"` + strings.Repeat("x", maxReply) + `"}`: {},
	} {
		got, err := decodeReply([]byte(text))
		if got != want || (want == rpcReply{}) != errors.Is(err, ErrMalformed) {
			t.Errorf("%.80s: %+v, %v", text, got, err)
		}
	}
}

func FuzzDecodeReply(f *testing.F) {
	f.Add([]byte(`{"jsonrpc":"2.0","id":7,"result":"v=0"}`))
	f.Add([]byte(`{"jsonrpc":"2.0","id":7,"error":{"code":-32601}}`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		r, err := decodeReply(payload)
		if err == nil && r.ID <= 0 || err != nil && r != (rpcReply{}) {
			t.Errorf("%q: %+v, %v", payload, r, err)
		}
	})
}
