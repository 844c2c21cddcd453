package sas

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
)

var (
	us   = Side{User: "@gatepost:example.org", Device: "GATE", Key: "a2V5IG9mIHRoZSBnYXRl", Master: "bWFzdGVyIG9mIHRoZSBnYXRl"}
	them = Side{User: "@alice:example.org", Device: "PHONE", Key: "a2V5IG9mIHRoZSBwaG9uZQ", Master: "bWFzdGVyIG9mIGFsaWNl"}
	noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

func asked(t *testing.T, shape func(*Request)) *Flow {
	t.Helper()
	r := Request{ID: "$request", FromUser: them.User, FromDevice: them.Device, Methods: []string{"m.qr_code.scan.v1", "m.sas.v1"}, At: noon}
	if shape != nil {
		shape(&r)
	}
	f, err := New(r, us, noon, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// phone is the side that asks, written from the standard for these tests.
type phone struct {
	t       *testing.T
	f       *Flow
	private *ecdh.PrivateKey
	secret  []byte
	gate    string // the gate's ephemeral key
}

func (p *phone) say(typ string, content any) []Message {
	p.t.Helper()
	b, err := json.Marshal(content)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.f.Take(noon, "m.key.verification."+typ, b)
}

// one is the only message, of a type.
func one(t *testing.T, got []Message, typ string) map[string]any {
	t.Helper()
	if len(got) != 1 || got[0].Type != "m.key.verification."+typ {
		t.Fatalf("got %v, want %s", got, typ)
	}
	return got[0].Content
}

func cancelled(t *testing.T, f *Flow, got []Message, code Code) {
	t.Helper()
	if c := one(t, got, "cancel"); c["code"] != string(code) || c["reason"] == "" {
		t.Errorf("cancelled with %v, want %s", c, code)
	}
	if !f.Over() || f.Code() != code {
		t.Errorf("state %d, code %s", f.State(), f.Code())
	}
}

const startContent = `{"transaction_id": "$request","method":"m.sas.v1", "from_device":"PHONE","hashes":["sha256"],
	"key_agreement_protocols":["curve25519-hkdf-sha256","curve25519"],"a <new> field":1,
	"message_authentication_codes":["hkdf-hmac-sha256.v2","hkdf-hmac-sha256"],"short_authentication_string":["decimal","emoji"]}`

// canonicalStart is startContent by hand.
const canonicalStart = `{"a <new> field":1,"from_device":"PHONE","hashes":["sha256"],"key_agreement_protocols":["curve25519-hkdf-sha256","curve25519"],` +
	`"message_authentication_codes":["hkdf-hmac-sha256.v2","hkdf-hmac-sha256"],"method":"m.sas.v1","short_authentication_string":["decimal","emoji"],"transaction_id":"$request"}`

// compare brings a flow to where the emoji are shown.
func compare(t *testing.T, f *Flow) *phone {
	t.Helper()
	p := &phone{t: t, f: f}
	var err error
	if p.private, err = ecdh.X25519().GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	ready := one(t, f.Meet(them.Key, them.Master), "ready")
	if ready["from_device"] != us.Device {
		t.Errorf("ready: %v", ready)
	}
	accept := one(t, f.Take(noon, "m.key.verification.start", json.RawMessage(startContent)), "accept")
	key := one(t, p.say("key", map[string]string{"key": base64.RawStdEncoding.EncodeToString(p.private.PublicKey().Bytes())}), "key")
	p.gate = key["key"].(string)
	sum := sha256.Sum256([]byte(p.gate + canonicalStart))
	if want := base64.RawStdEncoding.EncodeToString(sum[:]); accept["commitment"] != want {
		t.Errorf("commitment %v, want %s", accept["commitment"], want)
	}
	b, err := base64.RawStdEncoding.DecodeString(p.gate)
	if err != nil {
		t.Fatal(err)
	}
	public, err := ecdh.X25519().NewPublicKey(b)
	if err != nil {
		t.Fatal(err)
	}
	if p.secret, err = p.private.ECDH(public); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *phone) derive(info string, n int) []byte {
	b, err := hkdf.Key(sha256.New, p.secret, nil, info, n)
	if err != nil {
		p.t.Fatal(err)
	}
	return b
}

// emoji are the numbers of the emoji as the phone works them out, as one large number cut into pieces of six bits.
func (p *phone) emoji() (list []string) {
	info := fmt.Sprintf("MATRIX_KEY_VERIFICATION_SAS|%s|%s|%s|%s|%s|%s|$request", them.User, them.Device,
		base64.RawStdEncoding.EncodeToString(p.private.PublicKey().Bytes()), us.User, us.Device, p.gate)
	bits := fmt.Sprintf("%048b", new(big.Int).SetBytes(p.derive(info, 6)))
	for i := range 7 {
		n := 0
		for _, bit := range bits[6*i : 6*i+6] {
			n = 2*n + int(bit-'0')
		}
		list = append(list, table[n].Symbol)
	}
	return list
}

// proof is the content of a MAC message by from.
func (p *phone) proof(from, to Side, keys map[string]string) map[string]any {
	code := func(id, text string) string {
		h := hmac.New(sha256.New, p.derive("MATRIX_KEY_VERIFICATION_MAC"+from.User+from.Device+to.User+to.Device+"$request"+id, 32))
		h.Write([]byte(text))
		return base64.RawStdEncoding.EncodeToString(h.Sum(nil))
	}
	mac, names := map[string]string{}, []string{}
	for id, key := range keys {
		mac["ed25519:"+id] = code("ed25519:"+id, key)
		names = append(names, "ed25519:"+id)
	}
	slices.Sort(names)
	return map[string]any{"mac": mac, "keys": code("KEY_IDS", strings.Join(names, ","))}
}

func symbols(list []Emoji) (out []string) {
	for _, e := range list {
		out = append(out, e.Symbol)
	}
	return out
}

func TestAFlowToItsEnd(t *testing.T) {
	for _, first := range []string{"they confirm first", "we confirm first"} {
		t.Run(first, func(t *testing.T) {
			f := asked(t, nil)
			if _, err := f.Confirm(); !errors.Is(err, ErrEarly) {
				t.Errorf("confirmed before the emoji: %v", err)
			}
			p := compare(t, f)
			if got, want := symbols(f.Emoji()), p.emoji(); !slices.Equal(got, want) {
				t.Fatalf("we see %v, they see %v", got, want)
			}
			for _, n := range f.Decimals() {
				if n < 1000 || n > 9191 {
					t.Errorf("decimals %v", f.Decimals())
				}
			}
			proof := p.proof(them, us, map[string]string{them.Device: them.Key, them.Master: them.Master})
			var ours []Message
			var err error
			if first == "we confirm first" {
				if ours, err = f.Confirm(); err != nil || f.Over() {
					t.Fatalf("%v, over: %v", err, f.Over())
				}
				one(t, p.say("mac", proof), "done")
			} else {
				if got := p.say("mac", proof); len(got) != 0 || f.Over() {
					t.Fatalf("their proof alone: %v", got)
				}
				if ours, err = f.Confirm(); err != nil || len(ours) != 2 || ours[1].Type != "m.key.verification.done" {
					t.Fatalf("%v, %v", ours, err)
				}
				ours = ours[:1]
			}
			sent := one(t, ours, "mac")
			want := p.proof(us, them, map[string]string{us.Device: us.Key, us.Master: us.Master})
			if fmt.Sprint(sent) != fmt.Sprint(want) {
				t.Errorf("our proof is %v, want %v", sent, want)
			}
			if f.State() != Done || !f.CoversMaster() || f.Emoji() != nil {
				t.Errorf("state %d, master %v, emoji %v", f.State(), f.CoversMaster(), f.Emoji())
			}
			if _, err := f.Confirm(); !errors.Is(err, ErrOver) {
				t.Errorf("confirmed twice: %v", err)
			}
			if got := p.say("cancel", map[string]string{"code": "m.user"}); got != nil || f.State() != Done {
				t.Errorf("a cancellation after the end: %v, state %d", got, f.State())
			}
			cancelled(t, f, f.Fail(), CodeUser)
			if f.CoversMaster() || f.Fail() != nil {
				t.Error("it failed, and covers the master key or fails again")
			}
		})
	}
}

func TestWhatIsNoRequestOfOurs(t *testing.T) {
	for name, shape := range map[string]func(*Request){
		"old":       func(r *Request) { r.At = noon.Add(-11 * time.Minute) },
		"future":    func(r *Request) { r.At = noon.Add(6 * time.Minute) },
		"no method": func(r *Request) { r.Methods = []string{"m.qr_code.scan.v1"} },
		"no device": func(r *Request) { r.FromDevice = "" },
		"no id":     func(r *Request) { r.ID = "" },
		"long id":   func(r *Request) { r.ID = strings.Repeat("x", 256) },
	} {
		r := Request{ID: "$request", FromUser: them.User, FromDevice: them.Device, Methods: []string{"m.sas.v1"}, At: noon}
		shape(&r)
		if _, err := New(r, us, noon, rand.Reader); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAProofThatIsNone(t *testing.T) {
	all := map[string]string{them.Device: them.Key, them.Master: them.Master}
	spoil := func(change func(m map[string]any)) func(p *phone) map[string]any {
		return func(p *phone) map[string]any {
			m := p.proof(them, us, all)
			change(m)
			return m
		}
	}
	for name, make := range map[string]func(p *phone) map[string]any{
		"another device key": func(p *phone) map[string]any { return p.proof(them, us, map[string]string{them.Device: "another"}) },
		"another master key": func(p *phone) map[string]any {
			return p.proof(them, us, map[string]string{them.Device: them.Key, them.Master: "x"})
		},
		"no device key":       func(p *phone) map[string]any { return p.proof(them, us, map[string]string{them.Master: them.Master}) },
		"our own proof":       func(p *phone) map[string]any { return p.proof(us, them, all) },
		"a key left out":      spoil(func(m map[string]any) { delete(m["mac"].(map[string]string), "ed25519:"+them.Master) }),
		"a key slipped in":    spoil(func(m map[string]any) { m["mac"].(map[string]string)["ed25519:x"] = "y" }),
		"no list of the keys": spoil(func(m map[string]any) { delete(m, "keys") }),
	} {
		t.Run(name, func(t *testing.T) {
			f := asked(t, nil)
			p := compare(t, f)
			if _, err := f.Confirm(); err != nil {
				t.Fatal(err)
			}
			cancelled(t, f, p.say("mac", make(p)), CodeKeyMismatch)
		})
	}
}

func TestAPersonWithoutCrossSigning(t *testing.T) {
	f := asked(t, nil)
	p := compare(t, f)
	got := p.say("mac", p.proof(them, us, map[string]string{them.Device: them.Key, "unknown": "a key of whoever"}))
	if got != nil {
		t.Fatalf("%v", got)
	}
	if _, err := f.Confirm(); err != nil || f.State() != Done || f.CoversMaster() {
		t.Errorf("%v, state %d, master %v", err, f.State(), f.CoversMaster())
	}
}

func TestADeviceCalledLikeTheMasterKey(t *testing.T) {
	f := asked(t, func(r *Request) { r.FromDevice = them.Master })
	cancelled(t, f, f.Meet(them.Key, them.Master), CodeKeyMismatch)
	f = asked(t, nil)
	cancelled(t, f, f.Meet("", ""), CodeKeyMismatch)
}

func TestWhatIsOutOfOrder(t *testing.T) {
	for _, typ := range []string{"accept", "key", "mac", "ready", "nonsense"} {
		f := asked(t, nil)
		f.Meet(them.Key, "")
		cancelled(t, f, (&phone{t: t, f: f}).say(typ, struct{}{}), CodeUnexpected)
	}
	for _, typ := range []string{"start", "key"} {
		f := asked(t, nil)
		p := compare(t, f)
		cancelled(t, f, p.say(typ, struct{}{}), CodeUnexpected)
	}
	f := asked(t, nil)
	p := compare(t, f)
	proof := p.proof(them, us, map[string]string{them.Device: them.Key})
	if got := p.say("mac", proof); got != nil {
		t.Fatal(got)
	}
	cancelled(t, f, p.say("mac", proof), CodeUnexpected)
}

func TestAStartThatIsRefused(t *testing.T) {
	for _, c := range []struct {
		old, new string
		code     Code
	}{
		{`"m.sas.v1"`, `"m.reciprocate.v1"`, CodeMethod},
		{`"curve25519-hkdf-sha256",`, ``, CodeMethod},
		{`"sha256"`, `"md5"`, CodeMethod},
		{`"hkdf-hmac-sha256.v2",`, ``, CodeMethod},
		{`"decimal",`, ``, CodeMethod},
		{`"PHONE"`, `"TABLET"`, CodeInvalid},
		{`["sha256"]`, `"sha256"`, CodeInvalid},
		{`{"transaction_id"`, `["transaction_id"`, CodeInvalid},
	} {
		f := asked(t, nil)
		f.Meet(them.Key, "")
		content := strings.Replace(startContent, c.old, c.new, 1)
		if content == startContent {
			t.Fatalf("%s is not in it", c.old)
		}
		cancelled(t, f, f.Take(noon, "m.key.verification.start", json.RawMessage(content)), c.code)
	}
}

func TestAKeyThatIsRefused(t *testing.T) {
	for name, key := range map[string]any{
		"low order": base64.RawStdEncoding.EncodeToString(make([]byte, 32)), "short": "AAAA", "no base64": "%", "no text": 1,
	} {
		f := asked(t, nil)
		f.Meet(them.Key, "")
		f.Take(noon, "m.key.verification.start", json.RawMessage(startContent))
		t.Run(name, func(t *testing.T) {
			cancelled(t, f, (&phone{t: t, f: f}).say("key", map[string]any{"key": key}), CodeInvalid)
		})
	}
}

func TestEndsByRefusalAndTime(t *testing.T) {
	f := asked(t, nil)
	cancelled(t, f, f.Refuse(), CodeUser)
	f = asked(t, nil)
	compare(t, f)
	cancelled(t, f, f.Refuse(), CodeMismatch)
	if f.Refuse() != nil {
		t.Error("refused twice")
	}
	f = asked(t, nil)
	if got := f.Tick(noon.Add(10 * time.Minute)); got != nil {
		t.Errorf("ended early: %v", got)
	}
	cancelled(t, f, f.Tick(noon.Add(10*time.Minute+1)), CodeTimeout)
	f = asked(t, nil)
	f.Meet(them.Key, "")
	cancelled(t, f, f.Take(noon.Add(time.Hour), "m.key.verification.start", json.RawMessage(startContent)), CodeTimeout)
	f = asked(t, nil)
	if got := f.Take(noon, "m.key.verification.cancel", json.RawMessage(`{"code":"m.accepted"}`)); got != nil || f.Code() != "m.accepted" {
		t.Errorf("their cancellation: %v, %s", got, f.Code())
	}
}

// Whatever is said in whatever order, a flow is never done without a proof.
func FuzzTake(f *testing.F) {
	f.Add("start", startContent, "key", `{"key":"AAAA"}`, "mac", `{"mac":{"ed25519:PHONE":"x"},"keys":"y"}`)
	f.Add("cancel", `{}`, "start", `{"from_device":null}`, "", "")
	f.Fuzz(func(t *testing.T, t1, c1, t2, c2, t3, c3 string) {
		flow := asked(t, nil)
		flow.Meet(them.Key, them.Master)
		for _, m := range [][2]string{{t1, c1}, {t2, c2}, {t3, c3}} {
			for _, out := range flow.Take(noon, "m.key.verification."+m[0], json.RawMessage(m[1])) {
				if _, err := json.Marshal(out.Content); err != nil {
					t.Errorf("%s: %v", out.Type, err)
				}
			}
			_, _ = flow.Confirm() // too early, or over, or fine
		}
		if flow.State() == Done {
			t.Error("done without a proof")
		}
	})
}
