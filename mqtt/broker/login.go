package broker

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"sync"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// admit decides about a CONNECT: who it is, and whether its will may be sent. "" is fine; c has account and rights then.
func (b *Broker) admit(c *conn, pk *packets.Packet) (reason string, code packets.Code) {
	if pk.Properties.AuthenticationMethod != "" {
		return refusedProtocol, packets.ErrBadAuthenticationMethod
	}
	if all := *b.accounts.Load(); len(all) > 0 {
		a, reason := b.login(c, all, string(pk.Connect.Username), pk.Connect.Password)
		switch reason {
		case "":
		case refusedLoginBusy:
			return reason, packets.ErrServerBusy
		default:
			return reason, packets.ErrBadUsernameOrPassword
		}
		c.account, c.rights = a, a.rights(c.clientID)
	}
	if len(sessionID(c.account, c.clientID)) > longestName {
		return refusedProtocol, packets.ErrClientIdentifierNotValid
	}
	if pk.Connect.WillFlag {
		name := pk.Connect.WillTopic
		may := c.account == nil || c.rights.mayPublish(name)
		if topic.ValidTopic(name) != nil || len(name) > longestName || hasSysPrefix(name) || !may || len(pk.Connect.WillPayload) > b.cfg.MaxPayload {
			return refusedWill, packets.ErrNotAuthorized
		}
	}
	return "", packets.CodeSuccess
}

// login finds the account of a client: by its certificate, by its password, or because it gives no name. It may block until
// the time for CONNECT is over. Who has failed too often is refused before anything is computed for him.
func (b *Broker) login(c *conn, all accounts, user string, given []byte) (a *account, reason string) {
	if a := all.byCertificate(clientCertificate(c), user); a != nil {
		return a, ""
	}
	if user == "" && len(given) == 0 {
		if a := all.forNobody(); a != nil {
			return a, ""
		}
	}
	addr := limitAddress(remoteAddr(c))
	if b.logins.blocked(addr, user, time.Now()) {
		return nil, refusedLoginRate
	}
	a = all[user]
	compare := decoy(all) // so that a user who is not there takes as long as one who is
	if a != nil && a.password != nil {
		compare = a.password
	}
	if a != nil && b.verifier.known(a, given) {
		return a, ""
	}
	if compare.slow() {
		if !b.verifier.enter(time.Until(c.since.Add(b.cfg.Limits.ConnectTime)), b.stopping) {
			return nil, refusedLoginBusy
		}
		defer b.verifier.leave()
		switch { // others of this user, or of this address, may have come first
		case a != nil && b.verifier.known(a, given):
			return a, ""
		case b.logins.blocked(addr, user, time.Now()):
			return nil, refusedLoginRate
		}
	}
	began := time.Now()
	right := compare.verify(given)
	b.m.verified.Observe(time.Since(began).Seconds())
	if !right || a == nil || a.password == nil {
		b.logins.failed(addr, user, time.Now())
		return nil, refusedLogin
	}
	if compare.slow() {
		a.proof.Store(new(b.verifier.mark(given)))
	}
	return a, ""
}

// decoy is compared with where there is no password: one that takes as long as those that are there.
func decoy(all accounts) password {
	var found password = plainPassword{}
	for _, a := range all {
		if a.password != nil && a.password.slow() {
			found = a.password
		}
	}
	return found
}

// clientCertificate is the one that the client has proved to own, and whose chain ends at Config.ClientCAFile; nil: none.
func clientCertificate(c *conn) *x509.Certificate {
	below := c.Conn
	if ws, ok := below.(*wsConn); ok {
		below = ws.Conn
	}
	t, ok := below.(*tls.Conn)
	if !ok {
		return nil
	}
	chains := t.ConnectionState().VerifiedChains
	if len(chains) == 0 {
		return nil
	}
	return chains[0][0]
}

const (
	loginWindow  = time.Minute
	loginEntries = 20_000 // counted at the same time; then the oldest window is forgotten as a whole
	addressShare = 10     // an address may fail this many times as often as one user from it
)

// logins counts failed logins in windows of a minute: of a user from an address, and of the address. The first is what a
// guesser of one password meets; the second is higher, so that one device with a wrong password does not lock out all
// that share its address. Safe for concurrent use.
type logins struct {
	limit int

	mu    sync.Mutex
	began time.Time
	fails map[loginKey]int
}

type loginKey struct {
	addr netip.Addr
	user string // "" with all set
	all  bool
}

// blocked tells whether user may not try again from addr for now.
func (l *logins) blocked(addr netip.Addr, user string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	return l.fails[loginKey{addr, cutUser(user), false}] >= l.limit || l.fails[loginKey{addr: addr, all: true}] >= l.limit*addressShare
}

// failed counts one.
func (l *logins) failed(addr netip.Addr, user string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	l.fails[loginKey{addr, cutUser(user), false}]++
	l.fails[loginKey{addr: addr, all: true}]++
}

func (l *logins) turn(now time.Time) {
	if l.fails == nil || now.Sub(l.began) >= loginWindow || len(l.fails) > loginEntries {
		l.began, l.fails = now, map[loginKey]int{}
	}
}

// cutUser bounds what is kept of a name that a stranger chose.
func cutUser(user string) string { return user[:min(len(user), 64)] }

// limitAddress is what limits of an address count by: an IPv6 host has a whole /64.
func limitAddress(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() || !a.IsValid() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}
