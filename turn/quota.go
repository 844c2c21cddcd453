package turn

import (
	"sync"
	"sync/atomic"
)

// account is what one user has of the quotas. The counts belong to quotas; the bucket may be used by any worker.
type account struct {
	name  string
	bytes bucket

	allocations, permissions, channels int // behind quotas.mu
}

// take takes n payload bytes out of what the user may relay, or says that it is too much. It neither locks nor allocates.
func (a *account) take(now instant, n int) bool { return a.bytes.take(now, int64(n)) }

// bucket is a token bucket without a lock: it holds one second's worth. The zero value lets nothing through. Safe for
// concurrent use.
type bucket struct {
	perSecond int64
	full      atomic.Int64 // the instant at which the bucket is full again
}

func (b *bucket) take(now instant, n int64) bool { return takeToken(&b.full, now, n, b.perSecond) }

// takeToken takes n tokens out of a bucket that holds and regains perSecond, given the instant at which it is full again.
func takeToken(full *atomic.Int64, now instant, n, perSecond int64) bool {
	if perSecond <= 0 || n > perSecond {
		return false
	}
	cost := n * int64(second) / perSecond
	for {
		was := full.Load()
		next := max(was, int64(now)) + cost
		if next-int64(now) > int64(second) {
			return false
		}
		if full.CompareAndSwap(was, next) {
			return true
		}
	}
}

// idle says whether the bucket is full, so that a new one would be the same.
func (b *bucket) idle(now instant) bool { return b.full.Load() <= int64(now) }

// quotas bound what users have, each and all together. Safe for concurrent use; touched by requests only.
type quotas struct {
	limits Limits

	mu                                 sync.Mutex
	accounts                           map[string]*account
	allocations, permissions, channels int
}

func newQuotas(limits Limits) *quotas {
	return &quotas{limits: limits, accounts: map[string]*account{}}
}

// allocate takes one allocation for a user, and gives the user's account.
func (q *quotas) allocate(user string, now instant) (*account, string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.allocations >= q.limits.Allocations {
		return nil, refusedTotalQuota
	}
	a := q.accounts[user]
	if a == nil {
		if len(q.accounts) >= 2*q.limits.Allocations {
			q.forgetIdle(now)
		}
		if len(q.accounts) >= 2*q.limits.Allocations {
			return nil, refusedTotalQuota
		}
		a = &account{name: user}
		a.bytes.perSecond = q.limits.BytesPerSecondPerUser
		q.accounts[user] = a
	}
	if a.allocations >= q.limits.AllocationsPerUser {
		return nil, refusedUserQuota
	}
	a.allocations++
	q.allocations++
	return a, ""
}

// forgetIdle drops accounts that have nothing and whose bucket is full.
func (q *quotas) forgetIdle(now instant) {
	for name, a := range q.accounts {
		if a.allocations == 0 && a.bytes.idle(now) {
			delete(q.accounts, name)
		}
	}
}

// release gives an allocation back with its permissions and channels. An account whose bucket is not full yet is kept, so
// that nobody gets a full one by allocating again.
func (q *quotas) release(a *account, permissions, channels int, now instant) {
	q.mu.Lock()
	defer q.mu.Unlock()
	a.allocations--
	q.allocations--
	q.add(a, -permissions, -channels)
	if a.allocations == 0 && a.bytes.idle(now) {
		delete(q.accounts, a.name)
	}
}

// more takes permissions and channels, all of them or none.
func (q *quotas) more(a *account, permissions, channels int) string {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case a.permissions+permissions > q.limits.PermissionsPerUser, a.channels+channels > q.limits.ChannelsPerUser:
		return refusedUserQuota
	case q.permissions+permissions > q.limits.Permissions, q.channels+channels > q.limits.Channels:
		return refusedTotalQuota
	}
	q.add(a, permissions, channels)
	return ""
}

// fewer gives permissions and channels back.
func (q *quotas) fewer(a *account, permissions, channels int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.add(a, -permissions, -channels)
}

func (q *quotas) add(a *account, permissions, channels int) {
	a.permissions += permissions
	a.channels += channels
	q.permissions += permissions
	q.channels += channels
}

// live is the number of allocations of all users.
func (q *quotas) live() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.allocations
}

// setLimits puts other limits in place. Who has more than they allow keeps it, and gets no more.
func (q *quotas) setLimits(limits Limits) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limits = limits
}
