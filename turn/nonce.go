package turn

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
)

// A nonce needs no state: it is the time it was made at and a keyed hash of that and of the client's address. Two forms:
//
//	obMatJos2 gAAA | base64(time, 4 bytes; hash, 8 bytes)   29 characters: says that passwords may be hashed with SHA-256
//	                 base64(time, 4 bytes; hash, 8 bytes)   16 characters: for requests so short that the answer must be
const (
	nonceCookie = "obMatJos2" // RFC 8489 section 9.2
	// nonceFeatures is base64 of the 24 bits of RFC 8489 section 18.1: only bit 0, password algorithms.
	nonceFeatures = "gAAA"
	nonceToken    = 16
	nonceShort    = nonceToken
	nonceLong     = len(nonceCookie) + len(nonceFeatures) + nonceToken
	nonceTime     = 3600 * second // RFC 8656 section 5 wants it to be renewed each hour
)

// nonces makes and checks nonces. Safe for concurrent use.
type nonces struct{ key [32]byte }

// newNonces takes a key out of random.
func newNonces(random io.Reader) (*nonces, error) {
	n := &nonces{}
	if _, err := io.ReadFull(random, n.key[:]); err != nil {
		return nil, fmt.Errorf("make a nonce key: %w", err)
	}
	return n, nil
}

// append adds a nonce for a client to dst.
func (n *nonces) append(dst []byte, client endpoint, now instant, long bool) []byte {
	if long {
		dst = append(dst, nonceCookie...)
		dst = append(dst, nonceFeatures...)
	}
	raw := n.raw(client, uint32(now/second), long)
	return base64.StdEncoding.AppendEncode(dst, raw[:])
}

// valid says whether a nonce is one of ours for this client, and not too old.
func (n *nonces) valid(nonce []byte, client endpoint, now instant) bool {
	long := len(nonce) == nonceLong
	if !long && len(nonce) != nonceShort {
		return false
	}
	var got [nonceToken]byte // longer than what comes out: what is not base64 is found by Decode
	if k, err := base64.StdEncoding.Decode(got[:], nonce[len(nonce)-nonceToken:]); err != nil || k != 12 {
		return false
	}
	at := binary.BigEndian.Uint32(got[:])
	want := n.raw(client, at, long)
	if long && string(nonce[:nonceLong-nonceToken]) != nonceCookie+nonceFeatures {
		return false
	}
	age := now - instant(at)*second
	return hmac.Equal(got[:12], want[:]) && age >= 0 && age <= nonceTime
}

func (n *nonces) raw(client endpoint, at uint32, long bool) [12]byte {
	var text [4 + 16 + 2 + 1]byte
	binary.BigEndian.PutUint32(text[:], at)
	copy(text[4:], client.ip[:])
	binary.BigEndian.PutUint16(text[20:], client.port)
	if long {
		text[22] = 1
	}
	mac := hmac.New(sha256.New, n.key[:])
	mac.Write(text[:])
	var raw [12]byte
	copy(raw[:4], text[:4])
	copy(raw[4:], mac.Sum(nil))
	return raw
}
