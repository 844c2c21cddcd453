//go:build goolm

package matrix

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
)

// minCryptoKey is the bytes that a key for the crypto file must have.
const minCryptoKey = 16

// sealer closes rows with AES-256-GCM, bound to their place, and hides what their keys say. Safe for concurrent use.
type sealer struct {
	aead  cipher.AEAD
	names []byte // key of the HMAC that makes keys of rows
}

// newSealer derives the keys from a secret of any length from minCryptoKey on.
func newSealer(secret []byte) (*sealer, error) {
	if len(secret) < minCryptoKey {
		return nil, fmt.Errorf("matrix: the key of the crypto file has %d bytes, it needs %d", len(secret), minCryptoKey)
	}
	rows, err := hkdf.Key(sha256.New, secret, nil, "gatepost crypto rows", 32)
	if err != nil {
		return nil, err
	}
	names, err := hkdf.Key(sha256.New, secret, nil, "gatepost crypto names", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(rows)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &sealer{aead, names}, nil
}

const nameBytes = 16

// name is the key of a row that is about parts, such as a room and a session: nameBytes for each part, so that rows which
// begin with the same parts lie together.
func (s *sealer) name(parts ...string) []byte {
	out := make([]byte, 0, nameBytes*len(parts))
	for _, p := range parts {
		h := hmac.New(sha256.New, s.names)
		h.Write([]byte(p))
		out = append(out, h.Sum(nil)[:nameBytes]...)
	}
	return out
}

// place is what a sealed row is bound to.
func place(bucket string, key []byte) []byte {
	return append(append(make([]byte, 0, len(bucket)+1+len(key)), bucket...), append([]byte{0}, key...)...)
}

func (s *sealer) seal(bucket string, key, value []byte) []byte {
	return s.aead.Seal(nil, nil, value, place(bucket, key))
}

var errSealed = errors.New("a sealed row can't be opened")

func (s *sealer) open(bucket string, key, sealed []byte) ([]byte, error) {
	value, err := s.aead.Open(nil, nil, sealed, place(bucket, key))
	if err != nil {
		return nil, errSealed
	}
	return value, nil
}
