package matrix

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/gatepost/gatepost/gateway/sas"
	"github.com/gatepost/gatepost/internal/ids"
)

// verifyDesk is verifications over a world that notes what is done.
type verifyDesk struct {
	*verifications
	t       *testing.T
	clock   time.Time
	said    []string // type, room, device
	content map[string]any
	trusted []string
	told    []string
	failing error
}

func newVerifyDesk(t *testing.T) *verifyDesk {
	d := &verifyDesk{t: t, clock: time.UnixMilli(1_800_000_000_000)}
	d.verifications = &verifications{
		world: d, owner: func(u ids.UserID) bool { return u == "@alice:x" }, random: rand.Reader,
		now:     func() time.Time { return d.clock },
		changed: func(v Verification) { d.told = append(d.told, v.State) },
	}
	return d
}

func (d *verifyDesk) us(context.Context) (sas.Side, error) {
	return sas.Side{User: "@gatepost:x", Device: "GATE", Key: "gatekey"}, nil
}

func (d *verifyDesk) them(_ context.Context, user ids.UserID, device string) (sas.Side, error) {
	s := sas.Side{User: string(user), Device: device}
	if device == "PHONE" {
		s.Key = "phonekey"
	}
	return s, d.failing
}

func (d *verifyDesk) say(_ context.Context, room ids.RoomID, to sas.Side, typ string, content map[string]any) error {
	d.said = append(d.said, fmt.Sprintf("%s %s %s", typ[len(verificationPrefix):], room, to.Device))
	d.content = content
	return nil
}

func (d *verifyDesk) trust(_ context.Context, them sas.Side, master bool) error {
	d.trusted = append(d.trusted, fmt.Sprint(them.Device, master))
	return nil
}

func (d *verifyDesk) event(e verifyEvent, content string) {
	d.t.Helper()
	e.Content = json.RawMessage(content)
	if e.Sender == "" {
		e.Sender = "@alice:x"
	}
	if err := d.take(d.t.Context(), e); err != nil {
		d.t.Fatal(err)
	}
}

func (d *verifyDesk) request(id, device string) {
	d.t.Helper()
	d.event(verifyEvent{Type: "m.key.verification.request"},
		fmt.Sprintf(`{"transaction_id":%q,"from_device":%q,"methods":["m.sas.v1"],"timestamp":%d}`, id, device, d.clock.UnixMilli()))
}

const startEvent = `{"transaction_id":"T1","from_device":"PHONE","method":"m.sas.v1","hashes":["sha256"],"key_agreement_protocols":["curve25519-hkdf-sha256"],
	"message_authentication_codes":["hkdf-hmac-sha256.v2"],"short_authentication_string":["decimal","emoji"],"m.relates_to":{"rel_type":"m.reference","event_id":"$ask"}}`

// A point of the curve that is none of low order.
const someKey = `{"transaction_id":"T1","key":"3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08","m.relates_to":{"rel_type":"m.reference","event_id":"$ask"}}`

func TestVerificationByDevice(t *testing.T) {
	d := newVerifyDesk(t)
	d.request("T1", "PHONE")
	d.event(verifyEvent{Type: "m.key.verification.start"}, startEvent)
	if err := d.answer(t.Context(), "T1", true); !errors.Is(err, ErrNotShown) {
		t.Errorf("answered early: %v", err)
	}
	d.event(verifyEvent{Type: "m.key.verification.key"}, someKey)
	list := d.list()
	if len(list) != 1 || list[0].State != "shown" || len(list[0].Emoji) != 7 || list[0].User != "@alice:x" {
		t.Fatalf("%+v", list)
	}
	if err := d.answer(t.Context(), "T1", true); err != nil {
		t.Fatal(err)
	}
	if want := []string{"ready  PHONE", "accept  PHONE", "key  PHONE", "mac  PHONE"}; !slices.Equal(d.said, want) {
		t.Errorf("said %q", d.said)
	}
	if d.content["transaction_id"] != "T1" || len(d.trusted) != 0 {
		t.Errorf("%v, trusted %v", d.content, d.trusted)
	}
	if want := []string{"asked", "comparing", "shown", "confirmed"}; !slices.Equal(d.told, want) {
		t.Errorf("told %q", d.told)
	}
	d.event(verifyEvent{Type: "m.key.verification.mac"}, `{"transaction_id":"T1","mac":{},"keys":"wrong"}`)
	if s := d.list()[0]; s.State != "cancelled" || s.Code != "m.key_mismatch" || len(d.trusted) != 0 {
		t.Errorf("after a proof that is none: %+v, trusted %v", s, d.trusted)
	}
	if err := d.answer(t.Context(), "T1", true); !errors.Is(err, ErrNoVerification) {
		t.Errorf("answered late: %v", err)
	}
}

func TestVerificationInARoom(t *testing.T) {
	d := newVerifyDesk(t)
	ask := verifyEvent{Type: "m.room.message", Room: "!r:x", ID: "$ask"}
	d.event(ask, `{"msgtype":"m.key.verification.request","from_device":"PHONE","methods":["m.sas.v1"],"to":"@other:x"}`)
	if len(d.list()) != 0 {
		t.Fatal("a request to somebody else was taken")
	}
	d.event(ask, `{"msgtype":"m.key.verification.request","from_device":"PHONE","methods":["m.sas.v1"],"to":"@gatepost:x"}`)
	d.event(ask, `{"msgtype":"m.key.verification.request","from_device":"PHONE","methods":["m.sas.v1"],"to":"@gatepost:x"}`) // again
	start := verifyEvent{Type: "m.key.verification.start", Room: "!r:x", ID: "$start"}
	for _, wrong := range []verifyEvent{
		{Type: start.Type, Room: "!other:x", ID: "$start"},
		{Type: start.Type, Room: start.Room, ID: "$start", Sender: "@mallory:x"},
	} {
		d.event(wrong, startEvent)
	}
	if want := []string{"ready !r:x PHONE"}; !slices.Equal(d.said, want) {
		t.Fatalf("said %q", d.said)
	}
	d.event(start, startEvent)
	d.event(start, startEvent) // again
	if want := []string{"ready !r:x PHONE", "accept !r:x PHONE"}; !slices.Equal(d.said, want) {
		t.Fatalf("said %q", d.said)
	}
	relation, _ := d.content["m.relates_to"].(map[string]any)
	if relation["event_id"] != "$ask" || relation["rel_type"] != "m.reference" || d.content["transaction_id"] != nil {
		t.Errorf("accept is %v", d.content)
	}
	if err := d.answer(t.Context(), "$ask", false); err != nil || d.list()[0].State != "cancelled" {
		t.Errorf("refused: %v, %+v", err, d.list())
	}
}

func TestWhoMayAskForAVerification(t *testing.T) {
	d := newVerifyDesk(t)
	d.event(verifyEvent{Type: "m.key.verification.request", Sender: "@mallory:x"},
		fmt.Sprintf(`{"transaction_id":"T1","from_device":"PHONE","methods":["m.sas.v1"],"timestamp":%d}`, d.clock.UnixMilli()))
	d.event(verifyEvent{Type: "m.key.verification.request"}, `{"transaction_id":1}`)
	d.event(verifyEvent{Type: "m.key.verification.request"}, `{"transaction_id":"T1","from_device":"PHONE","methods":["m.sas.v1"],"timestamp":1}`)
	d.event(verifyEvent{Type: "m.key.verification.mac"}, `{"transaction_id":"T9"}`)
	if len(d.list()) != 0 || len(d.said) != 0 {
		t.Errorf("%v, said %v", d.list(), d.said)
	}
	d.request("T1", "UNKNOWN")
	if s := d.list()[0]; s.State != "cancelled" || s.Code != "m.key_mismatch" {
		t.Errorf("of a device that is not there: %+v", s)
	}
	d.failing = errors.New("no homeserver")
	err := d.take(t.Context(), verifyEvent{
		Type: "m.key.verification.request", Sender: "@alice:x",
		Content: json.RawMessage(fmt.Sprintf(`{"transaction_id":"T2","from_device":"PHONE","methods":["m.sas.v1"],"timestamp":%d}`, d.clock.UnixMilli())),
	})
	if !errors.Is(err, d.failing) {
		t.Errorf("%v", err)
	}
}

func TestVerificationsAreBoundedAndEnd(t *testing.T) {
	d := newVerifyDesk(t)
	for i := range 3 * maxFlows {
		d.request(fmt.Sprint("T", i), "PHONE")
	}
	if n := len(d.list()); n != maxFlows {
		t.Errorf("%d flows are kept", n)
	}
	d.clock = d.clock.Add(time.Hour)
	if err := d.tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, v := range d.list() {
		if v.State != "cancelled" || v.Code != "m.timeout" {
			t.Fatalf("%+v", v)
		}
	}
	d.request("new", "PHONE")
	if n := len(d.list()); n != 1 {
		t.Errorf("%d flows are kept after the end of the others", n)
	}
}

func TestWhatConcernsVerification(t *testing.T) {
	for _, c := range []struct {
		typ, content string
		want         bool
	}{
		{"m.key.verification.start", `{}`, true},
		{"m.room.message", `{"msgtype":"m.key.verification.request"}`, true},
		{"m.room.message", `{"msgtype":"m.text"}`, false},
		{"m.room.message", `[]`, false},
		{"m.room.member", `{"msgtype":"m.key.verification.request"}`, false},
	} {
		if got := concerns(c.typ, json.RawMessage(c.content)); got != c.want {
			t.Errorf("%s %s: %v", c.typ, c.content, got)
		}
	}
}
