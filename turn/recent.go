package turn

import "github.com/pion/stun/v4"

// How many answers of ended allocations are kept, and for how long: a client repeats a request for 39.5 s at most (RFC
// 8489 section 6.2.1, with the default Rc, Rm and RTO).
const (
	recentAnswers = 64
	recentTime    = 40 * second
)

const second instant = 1e9

// recent keeps the answers to the last requests that ended allocations, so that a repeated one gets the same answer
// although its allocation is gone. Bounded: the oldest gives way.
type recent struct {
	answers [recentAnswers]recentAnswer
	next    int
}

type recentAnswer struct {
	from        tuple
	transaction [stun.TransactionIDSize]byte
	at          instant
	bytes       []byte // nil: none
}

// keep remembers a copy of an answer.
func (r *recent) keep(from tuple, transaction [stun.TransactionIDSize]byte, at instant, answer []byte) {
	r.answers[r.next] = recentAnswer{from, transaction, at, append([]byte(nil), answer...)}
	r.next = (r.next + 1) % recentAnswers
}

// find is the answer that was kept, or nil. The caller does not change it.
func (r *recent) find(from tuple, transaction [stun.TransactionIDSize]byte, now instant) []byte {
	for i := range r.answers {
		if a := &r.answers[i]; a.bytes != nil && a.transaction == transaction && a.from == from && now-a.at < recentTime {
			return a.bytes
		}
	}
	return nil
}
