package broker

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// What HashPassword uses: the least that OWASP recommends for argon2id (19 MiB, two passes). It takes a server some 50 ms,
// and seconds on the smallest boards, which have few MiB to spare as well.
const (
	hashMemory = 19 << 10 // KiB
	hashPasses = 2
	hashLanes  = 1
	hashSalt   = 16 // bytes, as is the next
	hashLength = 32
)

// Bounds of hashes from a configuration: what one login may cost, and what is too weak to be meant.
const (
	maxHashMemory = 256 << 10 // KiB
	maxHashPasses = 16
	maxHashLanes  = 16
	maxHashWork   = 1 << 20 // KiB times passes: about a second of a server
	maxBcryptCost = 14
	maxBcrypt     = 72 // bytes of a password; bcrypt looks at no more
)

// HashPassword gives the argon2id hash of a password as a PHC string, for Account.Hash. It takes 19 MiB of memory.
func HashPassword(password []byte) (string, error) {
	if len(password) == 0 || len(password) > maxPassword {
		return "", fmt.Errorf("a password has 1 to %d bytes", maxPassword)
	}
	salt := make([]byte, hashSalt)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("salt: %w", err)
	}
	return argon2Hash{hashMemory, hashPasses, hashLanes, salt, argon2.IDKey(password, salt, hashPasses, hashMemory, hashLanes, hashLength)}.String(), nil
}

const maxPassword = 65535 // MQTT 3.1.1 section 3.1.3.5

// password is what an account's password is compared with. Safe for concurrent use.
type password interface {
	// verify may take long and need much memory: see slow.
	verify(given []byte) bool
	slow() bool
}

// samePassword tells whether two accounts have one password, as far as can be told.
func samePassword(a, b password) bool {
	switch a := a.(type) {
	case plainPassword:
		b, ok := b.(plainPassword)
		return ok && a == b
	case argon2Hash:
		b, ok := b.(argon2Hash)
		return ok && a.String() == b.String()
	case bcryptHash:
		b, ok := b.(bcryptHash)
		return ok && bytes.Equal(a, b)
	default:
		return b == nil
	}
}

// plainPassword is a password that the configuration has in the open; here only its digest is kept.
type plainPassword [sha256.Size]byte

func newPlainPassword(s string) plainPassword { return sha256.Sum256([]byte(s)) }

func (p plainPassword) verify(given []byte) bool {
	got := sha256.Sum256(given)
	return subtle.ConstantTimeCompare(got[:], p[:]) == 1
}

func (plainPassword) slow() bool { return false }

// argon2Hash is argon2id, version 19 (RFC 9106).
type argon2Hash struct {
	memory    uint32 // KiB
	passes    uint32
	lanes     uint8
	salt, sum []byte
}

func (h argon2Hash) verify(given []byte) bool {
	sum := argon2.IDKey(given, h.salt, h.passes, h.memory, h.lanes, uint32(len(h.sum)))
	return subtle.ConstantTimeCompare(sum, h.sum) == 1
}

func (argon2Hash) slow() bool { return true }

func (h argon2Hash) String() string {
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.passes, h.lanes, enc.EncodeToString(h.salt), enc.EncodeToString(h.sum))
}

type bcryptHash []byte

// verify refuses what bcrypt would cut off silently.
func (h bcryptHash) verify(given []byte) bool {
	return len(given) <= maxBcrypt && bcrypt.CompareHashAndPassword(h, given) == nil
}

func (bcryptHash) slow() bool { return true }

var errHash = errors.New("the hash is not one of argon2id ($argon2id$v=19$m=...) or bcrypt ($2b$...); `gatepost broker passwd` makes one")

// parseHash reads a hash. Errors do not show it.
func parseHash(s string) (password, error) {
	switch {
	case strings.HasPrefix(s, "$argon2id$"):
		return parseArgon2(s)
	case strings.HasPrefix(s, "$2"):
		cost, err := bcrypt.Cost([]byte(s))
		if err != nil || len(s) != 60 {
			return nil, errHash
		}
		if cost > maxBcryptCost {
			return nil, fmt.Errorf("the hash has cost %d: more than %d takes too long at each login", cost, maxBcryptCost)
		}
		return bcryptHash(s), nil
	}
	return nil, errHash
}

// parseArgon2 reads "$argon2id$v=19$m=19456,t=2,p=1$salt$sum".
func parseArgon2(s string) (password, error) {
	parts := strings.Split(s, "$")
	if len(parts) != 6 || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return nil, errHash
	}
	params := strings.Split(parts[3], ",")
	if len(params) != 3 {
		return nil, errHash
	}
	var n [3]uint64
	for i, name := range []string{"m=", "t=", "p="} {
		text, ok := strings.CutPrefix(params[i], name)
		v, err := strconv.ParseUint(text, 10, 32)
		if !ok || err != nil {
			return nil, errHash
		}
		n[i] = v
	}
	salt, err := base64.RawStdEncoding.Strict().DecodeString(parts[4])
	if err != nil {
		return nil, errHash
	}
	sum, err := base64.RawStdEncoding.Strict().DecodeString(parts[5])
	if err != nil {
		return nil, errHash
	}
	switch m, t, p := n[0], n[1], n[2]; {
	case m > maxHashMemory || t > maxHashPasses || p > maxHashLanes || m*t > maxHashWork:
		return nil, fmt.Errorf("the hash has m=%d,t=%d,p=%d: more than m=%d,t=%d,p=%d, or m times t above %d, takes too much at each login",
			m, t, p, maxHashMemory, maxHashPasses, maxHashLanes, maxHashWork)
	case p < 1 || t < 1 || m < 8*p || len(salt) < 8 || len(salt) > 64 || len(sum) < 16 || len(sum) > 64:
		return nil, errHash
	}
	return argon2Hash{uint32(n[0]), uint32(n[1]), uint8(n[2]), salt, sum}, nil
}
