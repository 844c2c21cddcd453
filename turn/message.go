package turn

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"hash"

	"github.com/pion/stun/v4"
)

// Attributes that pion/stun has no name for (RFC 8656 section 18).
const (
	attrAdditionalFamily = stun.AttrType(0x8000)
	attrAddressError     = stun.AttrType(0x8001)
)

// parse decodes a STUN message without copying it: m is good as long as b is. It must fill b exactly (RFC 8489 section
// 6.3), and a FINGERPRINT must be right. m is used again and again, so that nothing is allocated.
func parse(b []byte, m *stun.Message) error {
	switch {
	case len(b) < stunHeader || b[0]>>6 != 0 || binary.BigEndian.Uint32(b[4:]) != magicCookie:
		return errNotSTUN
	case int(binary.BigEndian.Uint16(b[2:]))+stunHeader != len(b) || len(b)%4 != 0:
		return errShort
	}
	m.Raw = b
	if err := m.Decode(); err != nil {
		return errNotSTUN
	}
	if value, ok := m.Attributes.Get(stun.AttrFingerprint); ok {
		at := len(b) - 8 // the last attribute (RFC 8489 section 14.7)
		if len(value.Value) != 4 || binary.BigEndian.Uint16(b[at:]) != uint16(stun.AttrFingerprint) ||
			binary.BigEndian.Uint32(value.Value) != stun.FingerprintValue(b[:at]) {
			return errNotSTUN
		}
	}
	return nil
}

// known says which comprehension-required attributes a server of ours understands.
func known(t stun.AttrType) bool {
	switch t {
	case stun.AttrMappedAddress, stun.AttrXORMappedAddress, stun.AttrUsername, stun.AttrUserhash, stun.AttrMessageIntegrity,
		stun.AttrMessageIntegritySHA256, stun.AttrPasswordAlgorithm, stun.AttrErrorCode, stun.AttrUnknownAttributes,
		stun.AttrRealm, stun.AttrNonce, stun.AttrChannelNumber, stun.AttrLifetime, stun.AttrXORPeerAddress, stun.AttrData,
		stun.AttrXORRelayedAddress, stun.AttrRequestedAddressFamily, stun.AttrEvenPort, stun.AttrRequestedTransport,
		stun.AttrDontFragment, stun.AttrReservationToken:
		return true
	}
	return !t.Required()
}

// maxUnknown is how many UNKNOWN-ATTRIBUTES an answer names.
const maxUnknown = 8

// unknown are the attributes of m that had to be understood and are not; DONT-FRAGMENT is one if the edge can't do it.
func unknown(m *stun.Message, dontFragment bool) []stun.AttrType {
	var out []stun.AttrType
	for _, a := range m.Attributes {
		if !known(a.Type) || a.Type == stun.AttrDontFragment && !dontFragment {
			if out = append(out, a.Type); len(out) == maxUnknown {
				break
			}
		}
	}
	return out
}

// signed says whether a message carries a MESSAGE-INTEGRITY of either kind.
func signed(m *stun.Message) bool {
	return m.Contains(stun.AttrMessageIntegrity) || m.Contains(stun.AttrMessageIntegritySHA256)
}

// The shortest a MESSAGE-INTEGRITY-SHA256 may be cut to (RFC 8489 section 14.6).
const minSHA256 = 16

// verify checks the signature of a parsed message: the SHA-256 one when it is there, else the SHA-1 one (RFC 8489 section
// 9.2.4). It compares in constant time.
func verify(m *stun.Message, k *key) bool {
	attr, sum := stun.AttrMessageIntegrity, sha1.New
	if m.Contains(stun.AttrMessageIntegritySHA256) {
		attr, sum = stun.AttrMessageIntegritySHA256, sha256.New
	}
	at := stunHeader
	for _, a := range m.Attributes {
		if a.Type != attr {
			at += 4 + (len(a.Value)+3)&^3
			continue
		}
		n := len(a.Value)
		if attr == stun.AttrMessageIntegrity && n != sha1.Size ||
			attr == stun.AttrMessageIntegritySHA256 && (n < minSHA256 || n > sha256.Size || n%4 != 0) {
			return false
		}
		return hmac.Equal(integrity(sum, k, m.Raw[:at], n), a.Value)
	}
	return false
}

// integrity signs the part of a message before its signature, whose value is n bytes: the length in the header counts the
// signature too (RFC 8489 section 14.5).
func integrity(sum func() hash.Hash, k *key, before []byte, n int) []byte {
	mac := hmac.New(sum, k.secret())
	var length [2]byte
	binary.BigEndian.PutUint16(length[:], uint16(len(before)-stunHeader+4+n))
	mac.Write(before[:2])
	mac.Write(length[:])
	mac.Write(before[4:])
	return mac.Sum(nil)[:n]
}

// peerOf reads an XOR-PEER-ADDRESS (RFC 8489 section 14.2). mapped: it is IPv4 in the form of IPv6, which is refused: an
// honest client has no reason for it.
func peerOf(m *stun.Message, value []byte) (peer endpoint, mapped, ok bool) {
	if len(value) < 4 {
		return endpoint{}, false, false
	}
	peer.port = binary.BigEndian.Uint16(value[2:]) ^ magicCookie>>16
	switch {
	case value[1] == wireIPv4 && len(value) == 8:
		copy(peer.ip[:], v4Prefix[:])
		xorAddress(peer.ip[12:], value[4:], m.Raw)
		return peer, false, true
	case value[1] == wireIPv6 && len(value) == 20:
		xorAddress(peer.ip[:], value[4:], m.Raw)
		return peer, familyOf(peer.ip) == ipv4, true
	}
	return endpoint{}, false, false
}

// xorAddress turns an address on the wire into the plain one and back: the key are the magic cookie and the transaction
// id, as they stand in the header.
func xorAddress(dst, src, header []byte) {
	for i := range dst {
		dst[i] = src[i] ^ header[4+i]
	}
}

// answer puts an answer together; pion/stun writes it.
type answer struct{ m stun.Message }

// begin starts the answer to a request.
func (w *answer) begin(to *stun.Message, class stun.MessageClass) {
	w.m.Reset()
	w.m.TransactionID = to.TransactionID
	w.m.Type = stun.NewType(to.Type.Method, class)
	w.m.WriteHeader()
}

func (w *answer) address(attr stun.AttrType, e endpoint) {
	ip := e.ip[:]
	if e.family() == ipv4 {
		ip = ip[12:]
	}
	value := make([]byte, 4+len(ip), 20)
	value[1] = e.family().wire()
	binary.BigEndian.PutUint16(value[2:], e.port^magicCookie>>16)
	xorAddress(value[4:], ip, w.m.Raw)
	w.m.Add(attr, value)
}

func (w *answer) uint32(attr stun.AttrType, v uint32) {
	w.m.Add(attr, binary.BigEndian.AppendUint32(nil, v))
}

func (w *answer) uint64(attr stun.AttrType, v uint64) {
	w.m.Add(attr, binary.BigEndian.AppendUint64(nil, v))
}

// code adds ERROR-CODE without a reason phrase (RFC 8489 section 14.8).
func (w *answer) code(code int) {
	w.m.Add(stun.AttrErrorCode, []byte{0, 0, byte(code / 100), byte(code % 100)})
}

// addressError adds ADDRESS-ERROR-CODE (RFC 8656 section 18.12).
func (w *answer) addressError(f family, code uint16) {
	w.m.Add(attrAddressError, []byte{f.wire(), 0, byte(code / 100), byte(code % 100)})
}

func (w *answer) unknown(attrs []stun.AttrType) {
	var value []byte
	for _, a := range attrs {
		value = binary.BigEndian.AppendUint16(value, a.Value())
	}
	w.m.Add(stun.AttrUnknownAttributes, value)
}

// sign adds the signature, of the kind that the request had.
func (w *answer) sign(k *key, kind stun.AttrType) {
	if kind == stun.AttrMessageIntegritySHA256 {
		w.m.Add(kind, integrity(sha256.New, k, w.m.Raw, sha256.Size))
	} else {
		w.m.Add(kind, integrity(sha1.New, k, w.m.Raw, sha1.Size))
	}
}

// fingerprint adds FINGERPRINT (RFC 8489 section 14.7).
func (w *answer) fingerprint() {
	w.m.Length += 8 // what is hashed counts the attribute
	w.m.WriteLength()
	value := stun.FingerprintValue(w.m.Raw)
	w.m.Length -= 8
	w.uint32(stun.AttrFingerprint, value)
}

// passwordAlgorithms is the value of PASSWORD-ALGORITHMS: SHA-256, MD5, both without parameters (RFC 8489 section 14.11).
const passwordAlgorithms = "\x00\x02\x00\x00\x00\x01\x00\x00"
