package store

import (
	"encoding/json"
	"fmt"

	"go.etcd.io/bbolt"
)

// Identity says for whom a store keeps things. Rooms, ghosts and positions of one identity mean nothing to another.
type Identity struct {
	ServerName string `json:"server_name"`
	Bot        string `json:"bot"`  // localpart
	Mode       string `json:"mode"` // appservice or account
}

// Identity is what Identify remembered; ok is false when nothing has been. Safe for concurrent use.
func (s *Store) Identity() (id Identity, ok bool, err error) {
	err = s.view(func(tx *bbolt.Tx) error {
		sealed := tx.Bucket(buckets().meta).Get([]byte(keyIdentity))
		if sealed == nil {
			return nil
		}
		payload, err := unseal(sealed)
		if err == nil {
			err = json.Unmarshal(payload, &id)
		}
		if ok = err == nil; !ok {
			return fmt.Errorf("store: identity: %w", err)
		}
		return nil
	})
	return id, ok, err
}

// Identify remembers for whom the store is, the first time. Later it returns an OtherIdentityError if that was somebody else.
func (s *Store) Identify(id Identity) error {
	have, ok, err := s.Identity()
	switch {
	case err != nil:
		return err
	case ok && have != id:
		return OtherIdentityError{Have: have, Want: id}
	case ok:
		return nil
	}
	payload, err := json.Marshal(id)
	if err != nil {
		return fmt.Errorf("store: identity: %w", err)
	}
	return s.do(s.request(func(b *batch) error {
		return b.tx.Bucket(buckets().meta).Put([]byte(keyIdentity), seal(nil, payload))
	}, 1, len(payload)))
}

// OtherIdentityError says that a store was made for another server, bot or mode than the configuration names. A person must
// correct the configuration or choose another folder.
type OtherIdentityError struct{ Have, Want Identity }

func (e OtherIdentityError) Error() string {
	return fmt.Sprintf("store: it belongs to the bot %q on %q in mode %s, the configuration says %q on %q in mode %s; "+
		"correct the configuration or choose another store.path",
		e.Have.Bot, e.Have.ServerName, e.Have.Mode, e.Want.Bot, e.Want.ServerName, e.Want.Mode)
}
