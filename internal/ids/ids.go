// Package ids holds the opaque names that the parts of gatepost hand to each other, and how they are made.
//
// A value of one of these types is never taken apart by its user. The zero value means "none".
package ids

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"
)

type (
	// DeviceID names a device inside gatepost: [a-z0-9._-]{1,64}, made by Device.
	DeviceID string
	// RoomKey is gatepost's own name of a room, known before the room exists; see DeviceRoom, SharedRoom and ControlRoom.
	RoomKey string
	// RoomID is the homeserver's name of a room ("!…").
	RoomID string
	// UserID is a Matrix user ("@localpart:server").
	UserID string
	// EventID is a Matrix event ("$…").
	EventID string
	// CallID names a call among those of a room; its caller makes it.
	CallID string
	// PartyID tells the devices of one user apart within a call; "" for a peer of version 0.
	PartyID string
)

// ControlRoom is the key of the room where the bot talks to the owners.
const ControlRoom RoomKey = "control"

// DeviceRoom is the key of the room of one device.
func DeviceRoom(d DeviceID) RoomKey { return RoomKey("device/" + string(d)) }

// SharedRoom is the key of a room that a rule names with `room:`. Any string is fine, the alias is made from its hash.
func SharedRoom(name string) RoomKey { return RoomKey("room/" + name) }

// Space is the key of the space that a rule names with `space:`.
func Space(name string) RoomKey { return RoomKey("space/" + name) }

const maxDevice, maxSlug = 64, 40

// Device makes the id of the device called name. A name that is already in [a-z0-9._-]{1,64} is its own id; any other
// becomes its ASCII slug (at most 40 bytes), a "-" and 12 hex digits of the SHA-256 of the name, so that "Door-1" never
// takes over "door-1". The empty name has no id.
func Device(name string) DeviceID {
	if name == "" {
		return ""
	}
	if len(name) <= maxDevice && strings.IndexFunc(name, func(r rune) bool { return !plain(r) }) < 0 {
		return DeviceID(name)
	}
	return DeviceID(slug(name) + "-" + Hash(name))
}

// Hash is 12 hex digits of the SHA-256 of s.
func Hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}

func plain(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' || r == '_' || r == '-'
}

// slug keeps what is plain of name in lower case and puts one "-" for each run of anything else.
func slug(name string) string {
	var b strings.Builder
	gap := false
	for _, r := range strings.ToLower(name) {
		if !plain(r) {
			gap = true
			continue
		}
		if gap && b.Len() > 0 {
			b.WriteByte('-')
		}
		gap = false
		b.WriteRune(r)
		if b.Len() >= maxSlug {
			break
		}
	}
	if b.Len() == 0 {
		return "x"
	}
	return b.String()[:min(b.Len(), maxSlug)]
}

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// NewULID makes a fresh ULID (github.com/ulid/spec): 26 characters, ordered by now to the millisecond, 80 random bits.
// It is the content id and the transaction id of what gatepost sends. Safe for concurrent use.
func NewULID(now time.Time) string {
	var raw [16]byte
	ms := uint64(max(now.UnixMilli(), 0))
	for i := range 6 {
		raw[i] = byte(ms >> (40 - 8*i))
	}
	_, _ = rand.Read(raw[6:]) // never fails (crypto/rand)
	var out [26]byte
	// 130 bits of text for 128 bits of value: the first character carries the two top zero bits.
	acc, bits := uint32(0), 2
	j := 0
	for _, b := range raw {
		acc = acc<<8 | uint32(b)
		bits += 8
		for bits >= 5 {
			bits -= 5
			out[j] = crockford[acc>>bits&31]
			j++
		}
	}
	return string(out[:])
}
