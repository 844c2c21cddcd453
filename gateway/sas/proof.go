package sas

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
)

// maxKeys is the most keys that a proof may name; a device and a master key are two.
const maxKeys = 16

// derive is HKDF-SHA256 of the shared secret without a salt.
func (f *Flow) derive(info string, n int) []byte {
	out, err := hkdf.Key(sha256.New, f.secret, nil, info, n)
	if err != nil { // only for more bytes than HKDF has
		panic("sas: " + err.Error())
	}
	return out
}

// short is the authentication string: the bits of "SAS HKDF calculation", the side that started first.
func (f *Flow) short() (emoji [emojis]int, decimals [3]int) {
	side := func(s Side, key []byte) string {
		return s.User + "|" + s.Device + "|" + base64.RawStdEncoding.EncodeToString(key)
	}
	info := strings.Join([]string{
		"MATRIX_KEY_VERIFICATION_SAS", side(f.Them, f.theirs.Bytes()), side(f.Us, f.private.PublicKey().Bytes()), f.ID,
	}, "|")
	b := f.derive(info, 6)
	var bits uint64
	for _, x := range b {
		bits = bits<<8 | uint64(x)
	}
	for i := range emoji {
		emoji[i] = int(bits >> (42 - 6*i) & 0x3f)
	}
	for i := range decimals {
		decimals[i] = int(bits>>(35-13*i)&0x1fff) + 1000
	}
	return emoji, decimals
}

// mac256 is the MAC of one text in a message from one side to the other.
func (f *Flow) mac256(from, to Side, id, text string) string {
	key := f.derive("MATRIX_KEY_VERIFICATION_MAC"+from.User+from.Device+to.User+to.Device+f.ID+id, 32)
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return base64.RawStdEncoding.EncodeToString(h.Sum(nil))
}

// owned are the keys of a side by key id.
func (s Side) owned() map[string]string {
	keys := map[string]string{"ed25519:" + s.Device: s.Key}
	if s.Master != "" {
		keys["ed25519:"+s.Master] = s.Master
	}
	return keys
}

// prove is the content of our m.key.verification.mac.
func (f *Flow) prove() (mac map[string]string, keys string) {
	owned := f.Us.owned()
	mac = map[string]string{}
	for id, key := range owned {
		mac[id] = f.mac256(f.Us, f.Them, id, key)
	}
	return mac, f.mac256(f.Us, f.Them, "KEY_IDS", strings.Join(slices.Sorted(maps.Keys(owned)), ","))
}

// check looks at the other side's proof: the list of keys must be whole, every key in it that we know must be the one we know,
// and the device's must be among them. Keys that we don't know prove nothing and are passed over.
func (f *Flow) check(mac map[string]string, keys string) (master, ok bool) {
	list := strings.Join(slices.Sorted(maps.Keys(mac)), ",")
	if !same(keys, f.mac256(f.Them, f.Us, "KEY_IDS", list)) {
		return false, false
	}
	owned := f.Them.owned()
	for id, got := range mac {
		if key, known := owned[id]; known && !same(got, f.mac256(f.Them, f.Us, id, key)) {
			return false, false
		}
	}
	_, device := mac["ed25519:"+f.Them.Device]
	if f.Them.Master != "" {
		_, master = mac["ed25519:"+f.Them.Master]
	}
	return master, device
}

// same compares two MACs, which clients send with or without padding.
func same(got, want string) bool {
	return hmac.Equal([]byte(strings.TrimRight(got, "=")), []byte(want))
}

// canonicalise is Canonical JSON of an object: sorted keys, no spaces, no escapes but those that must be.
func canonicalise(content json.RawMessage) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.UseNumber()
	var object map[string]any
	if err := dec.Decode(&object); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more than one value")
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(object); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}
