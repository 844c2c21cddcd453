package legacy

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/voip"
)

const alice ids.UserID = "@alice:example.org"

var (
	self  = voip.Party{User: "@door:example.org", ID: "gate"}
	phone = voip.Party{User: alice, ID: "PHONE"}
	zero  = 0
)

// What clients send, as they send it: js-sdk puts the streams in twice, and version 0 has no party.
func TestDecode(t *testing.T) {
	const head = `"call_id":"c1","party_id":"PHONE","version":"1"`
	offer := voip.Description{Type: "offer", SDP: "v=0"}
	for name, c := range map[string]struct {
		eventType, content string
		age                time.Duration
		want               voip.Event
	}{
		"invite": {
			TypeInvite, `{` + head + `,"lifetime":60000,"invitee":"@door:example.org","offer":{"type":"offer","sdp":"v=0"},"capabilities":{"m.call.dtmf":true,"m.call.transferee":false},` +
				`"sdp_stream_metadata":{"s1":{"purpose":"m.usermedia","audio_muted":false,"video_muted":true}},"org.matrix.msc3077.sdp_stream_metadata":{}}`, 5 * time.Second,
			voip.Invited{From: phone, Version: voip.Version1, Offer: offer, Left: 55 * time.Second, Streams: voip.Streams{"s1": {Purpose: "m.usermedia", VideoMuted: true}}},
		},
		"invite that is over": {
			TypeInvite, `{` + head + `,"lifetime":60000,"offer":{"type":"offer","sdp":"v=0"}}`, 61 * time.Second,
			voip.Invited{From: phone, Version: voip.Version1, Offer: offer, Left: -time.Second},
		},
		"invite of version 0": {
			TypeInvite, `{"call_id":"12.34","version":0,"lifetime":60000,"offer":{"type":"offer","sdp":"v=0"}}`, -time.Second,
			voip.Invited{From: voip.Party{User: alice}, Version: voip.Version0, Offer: offer, Left: time.Minute},
		},
		"a version nobody knows": {TypeReject, `{"call_id":"c1","party_id":"PHONE","version":"2.new"}`, 0, voip.Rejected{From: phone}},
		"invite for ever": {
			TypeInvite, `{` + head + `,"lifetime":1e300,"offer":{"type":"offer","sdp":"v=0"}}`, 0,
			voip.Invited{From: phone, Version: voip.Version1, Offer: offer, Left: 24 * time.Hour},
		},
		"answer": {
			TypeAnswer, `{` + head + `,"answer":{"type":"answer","sdp":"v=0"},"capabilities":{"m.call.dtmf":true}}`, 0,
			voip.Answered{From: phone, Version: voip.Version1, Answer: voip.Description{Type: "answer", SDP: "v=0"}, DTMF: true},
		},
		"candidates and their end": {
			TypeCandidates, `{` + head + `,"candidates":[{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0},{"candidate":"","sdpMid":"0"}]}`, 0,
			voip.Candidates{From: phone, List: []voip.Candidate{{Candidate: "candidate:1", MID: "0", Index: &zero}, {}}},
		},
		"select_answer":        {TypeSelectAnswer, `{` + head + `,"selected_party_id":"gate"}`, 0, voip.Selected{From: phone, Party: "gate"}},
		"reject":               {TypeReject, `{` + head + `,"reason":"user_busy"}`, 0, voip.Rejected{From: phone, Reason: voip.UserBusy}},
		"hangup":               {TypeHangup, `{` + head + `}`, 0, voip.HungUp{From: phone}},
		"a reason of a client": {TypeHangup, `{` + head + `,"reason":"` + strings.Repeat("x", 1000) + `"}`, 0, voip.HungUp{From: phone, Reason: voip.Reason(strings.Repeat("x", maxReason))}},
		"negotiate":            {TypeNegotiate, `{` + head + `,"description":{"type":"offer","sdp":"v=0"},"lifetime":1}`, 0, voip.Negotiated{From: phone, Desc: offer}},
		"streams":              {TypeStreams, `{` + head + `,"sdp_stream_metadata":{"s1":{"purpose":"m.usermedia"}}}`, 0, voip.StreamsChanged{From: phone, Streams: voip.Streams{"s1": {Purpose: "m.usermedia"}}}},
		"streams of old":       {typeOldStreams, `{` + head + `,"org.matrix.msc3077.sdp_stream_metadata":{"s1":{"purpose":"m.usermedia"}}}`, 0, voip.StreamsChanged{From: phone, Streams: voip.Streams{"s1": {Purpose: "m.usermedia"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			call, got, err := Decode(c.eventType, alice, []byte(c.content), c.age, self)
			if err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%+v, %v\nwant %+v", got, err, c.want)
			}
			if call == "" {
				t.Error("no call id")
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	const head = `"call_id":"c1","party_id":"PHONE","version":"1"`
	many := strings.Repeat(`"`+strings.Repeat("s", 3)+`":{},`, 3)
	for name, c := range map[string]struct {
		eventType, content string
		want               error
	}{
		"another type":         {"m.room.message", `{}`, ErrNotCall},
		"no object":            {TypeHangup, `[]`, ErrMalformed},
		"nothing":              {TypeHangup, ``, ErrMalformed},
		"a number as call id":  {TypeHangup, `{"call_id":7}`, ErrMalformed},
		"no call id":           {TypeHangup, `{"party_id":"PHONE","version":"1"}`, ErrMalformed},
		"odd bytes":            {TypeHangup, `{"call_id":"c\u0000/..","party_id":"PHONE","version":"1"}`, ErrMalformed},
		"a long id":            {TypeHangup, `{"call_id":"` + strings.Repeat("c", maxID+1) + `","party_id":"PHONE","version":"1"}`, ErrMalformed},
		"no party":             {TypeHangup, `{"call_id":"c1","version":"1"}`, ErrMalformed},
		"no version, no party": {TypeHangup, `{"call_id":"c1"}`, ErrMalformed},
		"no offer":             {TypeInvite, `{` + head + `,"lifetime":1}`, ErrMalformed},
		"no lifetime":          {TypeInvite, `{` + head + `,"offer":{"type":"offer","sdp":"v=0"}}`, ErrMalformed},
		"an answer as offer":   {TypeInvite, `{` + head + `,"lifetime":1,"offer":{"type":"answer","sdp":"v=0"}}`, ErrMalformed},
		"a giant SDP":          {TypeInvite, `{` + head + `,"lifetime":1,"offer":{"type":"offer","sdp":"` + strings.Repeat("x", voip.MaxSDP+1) + `"}}`, ErrMalformed},
		"an SDP of a megabyte": {TypeInvite, `{` + head + `,"lifetime":1,"offer":{"type":"offer","sdp":"` + strings.Repeat("x", 1<<20) + `"}}`, ErrMalformed},
		"for somebody else":    {TypeInvite, `{` + head + `,"lifetime":1,"invitee":"@bob:example.org","offer":{"type":"offer","sdp":"v=0"}}`, ErrInvitee},
		"a long candidate":     {TypeCandidates, `{` + head + `,"candidates":[{"candidate":"` + strings.Repeat("x", maxCandidate+1) + `"}]}`, ErrMalformed},
		"no selection":         {TypeSelectAnswer, `{` + head + `}`, ErrMalformed},
		"pranswer":             {TypeNegotiate, `{` + head + `,"description":{"type":"pranswer","sdp":"v=0"}}`, ErrMalformed},
		"no streams":           {TypeStreams, `{` + head + `}`, ErrMalformed},
		"an empty stream id":   {TypeStreams, `{` + head + `,"sdp_stream_metadata":{` + many + `"":{}}}`, ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if _, ev, err := Decode(c.eventType, alice, []byte(c.content), 0, self); !errors.Is(err, c.want) || len(err.Error()) > 200 {
				t.Errorf("%+v, %v, want %v", ev, err, c.want)
			}
		})
	}
}

// Thousands of candidates in one event are cut.
func TestDecodeCutsCandidates(t *testing.T) {
	raw := `{"call_id":"c1","party_id":"PHONE","version":"1","candidates":[` + strings.TrimSuffix(strings.Repeat(`{"candidate":"c"},`, 5000), ",") + `]}`
	_, ev, err := Decode(TypeCandidates, alice, []byte(raw), 0, self)
	if got := ev.(voip.Candidates).List; err != nil || len(got) != maxCandidates {
		t.Errorf("%d, %v", len(got), err)
	}
}

// Our own events come back to us; only an offer within the call has a meaning then.
func TestDecodeOurOwn(t *testing.T) {
	send := func(e voip.Effect) (voip.Event, error) {
		m, ok := Encode(e, "zz1", self, alice, true)
		if !ok {
			t.Fatalf("%T is not sent", e)
		}
		_, ev, err := Decode(m.Type, self.User, m.Content, 0, self)
		return ev, err
	}
	for _, e := range []voip.Effect{voip.SendHangup{Reason: "x"}, voip.SendNegotiate{Desc: voip.Description{Type: "answer", SDP: "v=0"}}} {
		if ev, err := send(e); !errors.Is(err, ErrOurs) {
			t.Errorf("%T: %v, %v", e, ev, err)
		}
	}
	if ev, err := send(voip.SendNegotiate{Desc: voip.Description{Type: "offer", SDP: "v=0"}}); err != nil || ev != (voip.Echoed{}) {
		t.Errorf("%v, %v", ev, err)
	}
}

// TestEncode holds what goes out to the letter: Ruma refuses a version that is a number, js-sdk an end of candidates with a mid.
func TestEncode(t *testing.T) {
	const head = `"call_id":"zz1","party_id":"gate","version":"1"`
	offer := voip.Description{Type: "offer", SDP: "v=0"}
	for _, c := range []struct {
		effect voip.Effect
		name   string
		want   string
	}{
		{
			voip.SendInvite{Offer: offer, Lifetime: 90 * time.Second, Streams: voip.Streams{"s": {Purpose: "m.usermedia"}}},
			TypeInvite,
			`{` + head + `,"lifetime":90000,"invitee":"@alice:example.org","offer":{"type":"offer","sdp":"v=0"},"capabilities":{"m.call.dtmf":true,"m.call.transferee":false},"sdp_stream_metadata":{"s":{"purpose":"m.usermedia","audio_muted":false,"video_muted":false}}}`,
		},
		{
			voip.SendAnswer{Answer: voip.Description{Type: "answer", SDP: "v=0"}},
			TypeAnswer,
			`{` + head + `,"answer":{"type":"answer","sdp":"v=0"},"capabilities":{"m.call.dtmf":true,"m.call.transferee":false}}`,
		},
		{
			voip.SendCandidates{List: []voip.Candidate{{Candidate: "candidate:1", MID: "0", Index: &zero}, {}}},
			TypeCandidates,
			`{` + head + `,"candidates":[{"candidate":"candidate:1","sdpMid":"0","sdpMLineIndex":0},{"candidate":""}]}`,
		},
		{voip.SendSelect{Party: "PHONE"}, TypeSelectAnswer, `{` + head + `,"selected_party_id":"PHONE"}`},
		{voip.SendReject{}, TypeReject, `{` + head + `}`},
		{voip.SendHangup{Reason: voip.ICEFailed}, TypeHangup, `{` + head + `,"reason":"ice_failed"}`},
		{voip.SendNegotiate{Desc: offer}, TypeNegotiate, `{` + head + `,"lifetime":30000,"description":{"type":"offer","sdp":"v=0"}}`},
	} {
		if m, ok := Encode(c.effect, "zz1", self, alice, true); !ok || m.Type != c.name || string(m.Content) != c.want {
			t.Errorf("%T: %s %s\nwant %s", c.effect, m.Type, m.Content, c.want)
		}
	}
	if m, ok := Encode(voip.LegPrepare{}, "zz1", self, alice, true); ok {
		t.Errorf("what is for the leg is sent: %v", m)
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"call_id":"c1","party_id":"P","version":"1","lifetime":60000,"offer":{"type":"offer","sdp":"v=0"}}`,
		`{"call_id":"c1","version":0,"candidates":[{"candidate":"x","sdpMid":null,"sdpMLineIndex":-1}]}`,
		`{"call_id":"c1","party_id":"P","version":"1","sdp_stream_metadata":{"":null}}`,
	} {
		f.Add(s)
	}
	types := []string{TypeInvite, TypeAnswer, TypeCandidates, TypeSelectAnswer, TypeReject, TypeHangup, TypeNegotiate, TypeStreams}
	f.Fuzz(func(t *testing.T, raw string) {
		for _, eventType := range types {
			call, ev, err := Decode(eventType, alice, []byte(raw), 0, self)
			if err != nil {
				continue
			}
			if !validID(string(call)) || ev == nil {
				t.Fatalf("%q %v", call, ev)
			}
			if inv, ok := ev.(voip.Invited); ok && (len(inv.Offer.SDP) > voip.MaxSDP || inv.Left > 24*time.Hour) {
				t.Fatalf("%+v", inv)
			}
			if !json.Valid([]byte(raw)) {
				t.Fatal("not JSON")
			}
		}
	})
}
