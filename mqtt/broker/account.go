package broker

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// account is immutable. Two sets of accounts share it as long as nothing of it has changed, so that pointers tell whether
// a client still has the rights it logged in with.
type account struct {
	user               string
	password           [sha256.Size]byte
	publish, subscribe []topic.Filter
}

// accounts by user. Nil, or empty: there are none, and everybody may do everything.
type accounts map[string]*account

// newAccounts checks list, and keeps those of prev that are the same.
func newAccounts(list []Account, prev accounts) (accounts, error) {
	var errs []error
	all := make(accounts, len(list))
	for _, a := range list {
		switch {
		case a.User == "" || len(a.User) > topic.MaxLength || strings.ContainsRune(a.User, 0):
			errs = append(errs, fmt.Errorf("account %q: a user needs 1 to %d bytes without NUL", a.User, topic.MaxLength))
		case a.Password == "":
			errs = append(errs, fmt.Errorf("account %q: it has no password", a.User))
		case all[a.User] != nil:
			errs = append(errs, fmt.Errorf("account %q: it is there twice", a.User))
		}
		next := &account{a.User, sha256.Sum256([]byte(a.Password)), slices.Clone(a.Publish), slices.Clone(a.Subscribe)}
		if old := prev[a.User]; old != nil && old.equal(next) {
			next = old
		}
		all[a.User] = next
	}
	return all, errors.Join(errs...)
}

func (a *account) equal(b *account) bool {
	return a.password == b.password && slices.Equal(a.publish, b.publish) && slices.Equal(a.subscribe, b.subscribe)
}

// login finds the account. It takes as long for a wrong password as for a user that is not there.
func (all accounts) login(user, password []byte) (*account, bool) {
	var want [sha256.Size]byte
	a := all[string(user)]
	if a != nil {
		want = a.password
	}
	got := sha256.Sum256(password)
	same := subtle.ConstantTimeCompare(got[:], want[:]) == 1
	return a, same && a != nil
}

// mayPublish tells whether user may publish to a topic, which is valid.
func (all accounts) mayPublish(user []byte, name string) bool {
	if len(all) == 0 {
		return true
	}
	a := all[string(user)]
	return a != nil && slices.ContainsFunc(a.publish, func(f topic.Filter) bool { return f.Match(name) })
}

// maySubscribe tells whether user may have what asked means: a filter, or a topic that is delivered.
func (all accounts) maySubscribe(user []byte, asked string) bool {
	if len(all) == 0 {
		return true
	}
	a := all[string(user)]
	return a != nil && slices.ContainsFunc(a.subscribe, func(f topic.Filter) bool { return topic.Permits(f, asked) })
}

// name is "" for nil, where there are no accounts.
func (a *account) name() string {
	if a == nil {
		return ""
	}
	return a.user
}
