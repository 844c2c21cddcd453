package turn

import "sync"

// revoked are the minted user names that are good for nothing any more, until they would have expired anyway. Safe for
// concurrent use.
type revoked struct {
	mu      sync.RWMutex
	expires map[string]int64 // Unix seconds
}

// maxRevoked bounds how many are remembered; above it those go that have expired, else the one that does so first.
const maxRevoked = 10_000

func (r *revoked) has(username string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, is := r.expires[username]
	return is
}

func (r *revoked) add(username string, expires, now int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.expires == nil {
		r.expires = map[string]int64{}
	}
	if len(r.expires) >= maxRevoked {
		first := username
		for name, at := range r.expires {
			if at < now {
				delete(r.expires, name)
			} else if first == username || at < r.expires[first] {
				first = name
			}
		}
		if len(r.expires) >= maxRevoked {
			delete(r.expires, first)
		}
	}
	r.expires[username] = expires
}

// Revoke makes a minted credential, by its user name, good for nothing at this server until it restarts, and ends what was
// allocated with it; it says how much that was. Static users are not touched. The error is ErrNotRunning.
func (s *Server) Revoke(username string) (int, error) {
	creds := s.handler.credentials.Load()
	who, ok := creds.identify(username)
	if _, static := creds.users[username]; static || !ok {
		return 0, nil
	}
	// First this: an Allocate that was let through before is in its worker's table when Kick looks there.
	s.handler.revoked.add(username, who.expires, s.cfg.Now().Unix())
	return s.Kick(func(i AllocationInfo) bool { return i.Username == username })
}
