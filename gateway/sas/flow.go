package sas

import (
	"crypto/ecdh"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"
)

// Side is one of the two devices.
type Side struct {
	User   string
	Device string
	Key    string // ed25519 key of the device, unpadded base64
	Master string // ed25519 master key of the user, unpadded base64; "" when there is none
}

// Message is one to be sent to the other device, in the room where it asked or from device to device. The sender adds what
// ties it to the flow: transaction_id, or m.relates_to.
type Message struct {
	Type    string
	Content map[string]any
}

// State is how far a flow is.
type State int

// The states, in order; the last two are ends.
const (
	Requested State = iota // asked for; Ready has not been called
	Ready                  // we said so; they start
	Started                // we accepted, with a commitment; they send their key
	Shown                  // the emoji can be compared
	Done                   // both sides have proved their keys
	Cancelled
)

// How long a flow may take in all, counted from the request's own time, and how far that may be in the future (the standard's).
const (
	Life   = 10 * time.Minute
	Future = 5 * time.Minute
)

// Flow is one verification. The zero value is not usable. Not safe for concurrent use.
type Flow struct {
	ID      string // transaction id, or id of the requesting event
	Us      Side
	Them    Side // Key and Master are set by Meet
	Expires time.Time

	state     State
	code      Code
	random    io.Reader
	private   *ecdh.PrivateKey
	theirs    *ecdh.PublicKey
	secret    []byte
	emoji     [emojis]int
	decimals  [3]int
	confirmed bool // by our side
	proved    bool // their MAC is right
	master    bool // and it covers their master key
}

// Request is what asks for a verification.
type Request struct {
	ID         string
	FromUser   string
	FromDevice string
	Methods    []string
	At         time.Time
}

const method = "m.sas.v1"

// The most of an id, in bytes, that is believed to be one.
const maxID = 255

// New takes a request for a verification with us. random gives the ephemeral key; it is crypto/rand.Reader but in tests.
func New(r Request, us Side, now time.Time, random io.Reader) (*Flow, error) {
	switch {
	case r.ID == "" || len(r.ID) > maxID || r.FromDevice == "" || len(r.FromDevice) > maxID || r.FromUser == "":
		return nil, fmt.Errorf("%w: it names no device or flow", ErrForeign)
	case now.Sub(r.At) > Life || r.At.Sub(now) > Future:
		return nil, fmt.Errorf("%w: its time is %v from ours", ErrForeign, now.Sub(r.At).Round(time.Second))
	case !slices.Contains(r.Methods, method):
		return nil, fmt.Errorf("%w: it offers no %s", ErrForeign, method)
	}
	expires := r.At.Add(Life)
	if end := now.Add(Life); end.Before(expires) {
		expires = end
	}
	return &Flow{ID: r.ID, Us: us, Them: Side{User: r.FromUser, Device: r.FromDevice}, Expires: expires, random: random}, nil
}

// Meet says which keys the homeserver gives for the other device and says that we are ready. key and master are as in Side.
func (f *Flow) Meet(key, master string) []Message {
	if f.state != Requested {
		return nil
	}
	if key == "" || f.Them.Device == master {
		return f.cancel(CodeKeyMismatch) // a device that is called like the master key would prove one with the other
	}
	f.Them.Key, f.Them.Master, f.state = key, master, Ready
	return []Message{{"m.key.verification.ready", map[string]any{"from_device": f.Us.Device, "methods": []string{method}}}}
}

// Take handles a message of the other side. typ is the event's type, content its content as it came.
func (f *Flow) Take(now time.Time, typ string, content json.RawMessage) []Message {
	if f.Over() {
		return nil
	}
	if late := f.Tick(now); late != nil {
		return late
	}
	switch typ {
	case "m.key.verification.start":
		return f.start(content)
	case "m.key.verification.key":
		return f.key(content)
	case "m.key.verification.mac":
		return f.mac(content)
	case "m.key.verification.done":
		return nil // what counts is the MAC
	case "m.key.verification.cancel":
		var c struct {
			Code Code `json:"code"`
		}
		_ = json.Unmarshal(content, &c) // whatever it says, it is over
		f.end(cutCode(c.Code))
		return nil
	default:
		return f.cancel(CodeUnexpected)
	}
}

// Tick ends a flow whose time is over.
func (f *Flow) Tick(now time.Time) []Message {
	if !f.Over() && now.After(f.Expires) {
		return f.cancel(CodeTimeout)
	}
	return nil
}

// start answers the beginning of the comparison with what was chosen and the commitment to our key.
func (f *Flow) start(content json.RawMessage) []Message {
	if f.state != Ready {
		return f.cancel(CodeUnexpected)
	}
	var s struct {
		FromDevice string   `json:"from_device"`
		Method     string   `json:"method"`
		Agreements []string `json:"key_agreement_protocols"`
		Hashes     []string `json:"hashes"`
		MACs       []string `json:"message_authentication_codes"`
		Strings    []string `json:"short_authentication_string"`
	}
	canonical, err := canonicalise(content)
	if err != nil || json.Unmarshal(content, &s) != nil || s.FromDevice != f.Them.Device {
		return f.cancel(CodeInvalid)
	}
	if s.Method != method || !slices.Contains(s.Agreements, "curve25519-hkdf-sha256") || !slices.Contains(s.Hashes, "sha256") ||
		!slices.Contains(s.MACs, "hkdf-hmac-sha256.v2") || !slices.Contains(s.Strings, "decimal") {
		return f.cancel(CodeMethod)
	}
	show := []string{"decimal"}
	if slices.Contains(s.Strings, "emoji") {
		show = append(show, "emoji")
	}
	seed := make([]byte, 32)
	if _, err := io.ReadFull(f.random, seed); err != nil {
		return f.cancel(CodeUser)
	}
	if f.private, err = ecdh.X25519().NewPrivateKey(seed); err != nil {
		return f.cancel(CodeUser)
	}
	f.state = Started
	commitment := sha256.Sum256(append([]byte(base64.RawStdEncoding.EncodeToString(f.private.PublicKey().Bytes())), canonical...))
	return []Message{{"m.key.verification.accept", map[string]any{
		"method":                      method,
		"key_agreement_protocol":      "curve25519-hkdf-sha256",
		"hash":                        "sha256",
		"message_authentication_code": "hkdf-hmac-sha256.v2",
		"short_authentication_string": show,
		"commitment":                  base64.RawStdEncoding.EncodeToString(commitment[:]),
	}}}
}

// key takes the other side's ephemeral key; with it the emoji can be shown.
func (f *Flow) key(content json.RawMessage) []Message {
	if f.state != Started {
		return f.cancel(CodeUnexpected)
	}
	var k struct {
		Key string `json:"key"`
	}
	if json.Unmarshal(content, &k) != nil {
		return f.cancel(CodeInvalid)
	}
	b, err := base64.RawStdEncoding.DecodeString(k.Key)
	if err == nil {
		f.theirs, err = ecdh.X25519().NewPublicKey(b)
	}
	if err == nil {
		f.secret, err = f.private.ECDH(f.theirs) // refuses keys of low order
	}
	if err != nil {
		return f.cancel(CodeInvalid)
	}
	f.emoji, f.decimals = f.short()
	f.state = Shown
	return []Message{{"m.key.verification.key", map[string]any{"key": base64.RawStdEncoding.EncodeToString(f.private.PublicKey().Bytes())}}}
}

// mac takes the other side's proof of its keys.
func (f *Flow) mac(content json.RawMessage) []Message {
	if f.state != Shown || f.proved {
		return f.cancel(CodeUnexpected)
	}
	var m struct {
		MAC  map[string]string `json:"mac"`
		Keys string            `json:"keys"`
	}
	if json.Unmarshal(content, &m) != nil || len(m.MAC) > maxKeys {
		return f.cancel(CodeInvalid)
	}
	var ok bool
	if f.master, ok = f.check(m.MAC, m.Keys); !ok {
		return f.cancel(CodeKeyMismatch)
	}
	f.proved = true
	return f.finish()
}

// Confirm says that a person of ours saw the same emoji: our own proof goes out.
func (f *Flow) Confirm() ([]Message, error) {
	switch {
	case f.Over():
		return nil, ErrOver
	case f.state != Shown:
		return nil, ErrEarly
	case f.confirmed:
		return nil, nil
	}
	f.confirmed = true
	mac, keys := f.prove()
	out := []Message{{"m.key.verification.mac", map[string]any{"mac": mac, "keys": keys}}}
	return append(out, f.finish()...), nil
}

// Refuse ends the flow: the emoji differ, or, before there are any, nobody wants it.
func (f *Flow) Refuse() []Message {
	if f.Over() {
		return nil
	}
	if f.state == Shown {
		return f.cancel(CodeMismatch)
	}
	return f.cancel(CodeUser)
}

// Fail ends a flow whose result could not be kept, also one that is Done: nothing was verified then.
func (f *Flow) Fail() []Message {
	if f.state == Cancelled {
		return nil
	}
	return f.cancel(CodeUser)
}

func (f *Flow) finish() []Message {
	if !f.confirmed || !f.proved {
		return nil
	}
	f.state = Done
	f.forget()
	return []Message{{"m.key.verification.done", map[string]any{}}}
}

// cancel ends the flow and says so.
func (f *Flow) cancel(code Code) []Message {
	f.end(code)
	return []Message{{"m.key.verification.cancel", map[string]any{"code": string(code), "reason": reasons[code]}}}
}

func (f *Flow) end(code Code) {
	f.state, f.code = Cancelled, code
	f.forget()
}

// forget drops what is secret.
func (f *Flow) forget() { f.private, f.secret = nil, nil }

// State says how far the flow is.
func (f *Flow) State() State { return f.state }

// Over says that the flow has ended, well or not.
func (f *Flow) Over() bool { return f.state == Done || f.state == Cancelled }

// Code is why the flow was cancelled, "" when it was not.
func (f *Flow) Code() Code { return f.code }

// Confirmed says that our side has confirmed and the other's proof may still be missing.
func (f *Flow) Confirmed() bool { return f.confirmed }

// CoversMaster says, of a flow that is Done, that the other side proved its user's master key as well as the device's key.
func (f *Flow) CoversMaster() bool { return f.state == Done && f.master }

// cutCode keeps what looks like a code.
func cutCode(c Code) Code {
	if c == "" || len(c) > 100 {
		return CodeUser
	}
	return c
}

// reasons are the texts beside the codes, the same for everybody: in a room that is not encrypted they can be read.
var reasons = map[Code]string{
	CodeUser:        "not wanted",
	CodeTimeout:     "it took too long",
	CodeMethod:      "no method in common",
	CodeUnexpected:  "out of order",
	CodeKeyMismatch: "the keys differ",
	CodeInvalid:     "not understood",
	CodeMismatch:    "the emoji differ",
}
