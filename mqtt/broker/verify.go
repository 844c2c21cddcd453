package broker

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"runtime"
	"sync/atomic"
	"time"
)

// verifier checks passwords against hashes that are slow on purpose. Only a few are checked at the same time, on half of
// the processors, so that a flood of logins takes neither the memory nor the time of those who are connected; the others
// wait in line, for a bounded time. A password that was right is not hashed again: its mark is kept with the account, which
// tells nothing to one who does not have the process's key. So devices that come back do not stand in the line at all.
// Safe for concurrent use.
type verifier struct {
	slots   chan struct{}
	waiting atomic.Int64      // in line
	key     [sha256.Size]byte // of the marks; random at each start
}

// mark is a keyed digest of a password.
type mark [sha256.Size]byte

func newVerifier() *verifier {
	v := &verifier{slots: make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))}
	_, _ = rand.Read(v.key[:]) // it never fails
	return v
}

func (v *verifier) mark(given []byte) (m mark) {
	h := hmac.New(sha256.New, v.key[:])
	h.Write(given)
	h.Sum(m[:0])
	return m
}

// known tells whether given is the password that was right before.
func (v *verifier) known(a *account, given []byte) bool {
	was := a.proof.Load()
	if was == nil {
		return false
	}
	now := v.mark(given)
	return hmac.Equal(was[:], now[:])
}

// enter waits for a place, at most for the time given; false: there was none. leave gives it back.
func (v *verifier) enter(wait time.Duration, stop <-chan struct{}) bool {
	v.waiting.Add(1)
	defer v.waiting.Add(-1)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case v.slots <- struct{}{}:
		return true
	case <-timer.C:
	case <-stop:
	}
	return false
}

func (v *verifier) leave() { <-v.slots }
