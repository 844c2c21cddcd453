package broker

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// Account is one user of the broker. It logs in by a password (Password or Hash), by a client certificate, or, if Anonymous
// is set, by giving no user name at all; at least one of them is needed, and each one that is there suffices.
type Account struct {
	User     string // also keeps its sessions apart from those of others
	Password string
	Hash     string // of the password instead: argon2id (PHC string) or bcrypt; see HashPassword
	// Certificate is a name in the client's certificate: its common name, or one of its DNS names, e-mail addresses or
	// URIs, compared byte by byte. It needs Config.ClientCAFile.
	Certificate string
	Anonymous   bool // of one account only

	Publish, Subscribe []Permission // nil permits nothing; Publish holds for wills too
}

// Check tells what is wrong with a, without showing its secrets.
func (a Account) Check() error {
	_, err := newAccount(a)
	return err
}

// account is immutable but for what proof remembers. Two sets of accounts share it as long as nothing of it has changed,
// so that pointers tell whether a client still has the rights it logged in with.
type account struct {
	user               string
	password           password // nil: none lets in
	certificate        string   // "": none lets in
	anonymous          bool
	publish, subscribe []Permission

	common *rights              // when they are the same for all its clients
	proof  atomic.Pointer[mark] // of the last right password, so that it need not be hashed again; see verifier
}

// accounts by user. Nil, or empty: there are none, and everybody may do everything.
type accounts map[string]*account

// newAccounts checks list, and keeps those of prev that are the same.
func newAccounts(list []Account, prev accounts) (accounts, error) {
	var errs []error
	all := make(accounts, len(list))
	certificates, nobody := map[string]string{}, ""
	for _, spec := range list {
		next, err := newAccount(spec)
		if err != nil {
			errs = append(errs, fmt.Errorf("account %q: %w", spec.User, err))
			continue
		}
		if all[next.user] != nil {
			errs = append(errs, fmt.Errorf("account %q: it is there twice", next.user))
		}
		if other, taken := certificates[next.certificate]; taken && next.certificate != "" {
			errs = append(errs, fmt.Errorf("account %q: the certificate is that of %q", next.user, other))
		}
		if next.anonymous && nobody != "" {
			errs = append(errs, fmt.Errorf("account %q: %q is the one for clients without a user name", next.user, nobody))
		}
		certificates[next.certificate] = next.user
		if next.anonymous {
			nobody = next.user
		}
		if old := prev[next.user]; old != nil && old.equal(next) {
			next = old
		}
		all[next.user] = next
	}
	return all, errors.Join(errs...)
}

func newAccount(spec Account) (*account, error) {
	a := &account{
		user: spec.User, certificate: spec.Certificate, anonymous: spec.Anonymous,
		publish: slices.Clone(spec.Publish), subscribe: slices.Clone(spec.Subscribe),
	}
	if a.user == "" || len(a.user) > topic.MaxLength || strings.ContainsRune(a.user, 0) {
		return nil, fmt.Errorf("a user needs 1 to %d bytes without NUL", topic.MaxLength)
	}
	switch {
	case spec.Password != "" && spec.Hash != "":
		return nil, errors.New("it has a password and a hash: keep one")
	case spec.Password != "":
		a.password = newPlainPassword(spec.Password)
	case spec.Hash != "":
		h, err := parseHash(spec.Hash)
		if err != nil {
			return nil, err
		}
		a.password = h
	case a.certificate == "" && !a.anonymous:
		return nil, errors.New("it has no password")
	}
	fixed := true
	for _, p := range slices.Concat(a.publish, a.subscribe) {
		if _, ok := p.filter(a.user, "x"); !ok {
			return nil, fmt.Errorf(`%q: the user may not begin with "$" or hold "+", "#" or "/" when {user} is used`, p)
		}
		fixed = fixed && p.fixed != topic.Filter{}
	}
	if fixed {
		a.common = &rights{fill(a.publish, "", ""), fill(a.subscribe, "", "")}
	}
	return a, nil
}

func (a *account) equal(b *account) bool {
	return samePassword(a.password, b.password) && a.certificate == b.certificate && a.anonymous == b.anonymous &&
		slices.EqualFunc(a.publish, b.publish, Permission.Equal) && slices.EqualFunc(a.subscribe, b.subscribe, Permission.Equal)
}

// rights of one of its clients.
func (a *account) rights(client string) *rights {
	if a.common != nil {
		return a.common
	}
	return &rights{fill(a.publish, a.user, client), fill(a.subscribe, a.user, client)}
}

// name is "" for nil, where there are no accounts.
func (a *account) name() string {
	if a == nil {
		return ""
	}
	return a.user
}

// byCertificate finds the account that a verified certificate stands for: the one that the client names, or without a
// user name the only one that the certificate fits. Nil is none.
func (all accounts) byCertificate(cert *x509.Certificate, user string) *account {
	if cert == nil {
		return nil
	}
	if user != "" {
		if a := all[user]; a != nil && a.certificate != "" && carries(cert, a.certificate) {
			return a
		}
		return nil
	}
	var found *account
	for _, a := range all {
		if a.certificate == "" || !carries(cert, a.certificate) {
			continue
		}
		if found != nil {
			return nil
		}
		found = a
	}
	return found
}

func carries(cert *x509.Certificate, name string) bool {
	if cert.Subject.CommonName == name || slices.Contains(cert.DNSNames, name) || slices.Contains(cert.EmailAddresses, name) {
		return true
	}
	for _, u := range cert.URIs {
		if u.String() == name {
			return true
		}
	}
	return false
}

// forNobody is the account of clients that give no user name; nil: there is none.
func (all accounts) forNobody() *account {
	for _, a := range all {
		if a.anonymous {
			return a
		}
	}
	return nil
}

// open tells whether somebody gets in without being known.
func (all accounts) open() bool { return len(all) == 0 || all.forNobody() != nil }

// checkCertificates refuses an account that nobody could log in to as it is meant.
func (b *Broker) checkCertificates(all accounts) error {
	var errs []error
	for _, a := range all {
		if a.certificate != "" && b.cfg.ClientCAFile == "" {
			errs = append(errs, fmt.Errorf("account %q: %w", a.user, ErrNoClientCA))
		}
	}
	return errors.Join(errs...)
}

// SetAccounts puts list in place of the accounts. Connected clients stay, except those whose account is gone or lets in
// otherwise or has other rights now. On an error nothing has changed.
func (b *Broker) SetAccounts(list []Account) error {
	b.accountsMu.Lock()
	defer b.accountsMu.Unlock()
	next, err := b.nextAccounts(list)
	if err != nil {
		return err
	}
	b.accounts.Store(&next)
	for _, c := range b.allConns() {
		if c.established.Load() && !b.current(c) {
			b.disconnect(c, packets.ErrNotAuthorized)
		}
	}
	return nil
}

// CheckAccounts tells what SetAccounts would say.
func (b *Broker) CheckAccounts(list []Account) error {
	_, err := b.nextAccounts(list)
	return err
}

func (b *Broker) nextAccounts(list []Account) (accounts, error) {
	next, err := newAccounts(list, *b.accounts.Load())
	if err != nil {
		return nil, err
	}
	return next, errors.Join(b.checkOpen(next), b.checkCertificates(next))
}

// current tells whether c has the rights that it logged in with.
func (b *Broker) current(c *conn) bool {
	all := *b.accounts.Load()
	if c.account == nil {
		return len(all) == 0
	}
	return all[c.account.user] == c.account
}

// heldRights are those that a session was found to have with an account.
type heldRights struct {
	account *account
	rights  *rights
}

// rightsOf are those of a session, whether its client is connected or not; all is true where there are no accounts. What it
// may is decided by the accounts as they are now.
func (b *Broker) rightsOf(s *session) (r *rights, all bool) {
	now := *b.accounts.Load()
	if len(now) == 0 {
		return nil, true
	}
	a := now[s.account]
	if a == nil {
		return &rights{}, false
	}
	if held := s.rights.Load(); held != nil && held.account == a {
		return held.rights, false
	}
	held := &heldRights{a, a.rights(s.client)}
	s.rights.Store(held)
	return held.rights, false
}

// mayPublish tells whether a client may publish to a topic, which is valid.
func (b *Broker) mayPublish(s *session, name string) bool {
	r, all := b.rightsOf(s)
	return all || r.mayPublish(name)
}

// maySubscribe tells whether a client may have what asked means: a filter, or a topic that is delivered.
func (b *Broker) maySubscribe(s *session, asked string) bool {
	r, all := b.rightsOf(s)
	return all || r.maySubscribe(asked)
}
