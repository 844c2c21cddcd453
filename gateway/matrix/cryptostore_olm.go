//go:build goolm

package matrix

import (
	"context"
	"encoding/binary"
	"slices"
	"time"

	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/olm"
	"maunium.net/go/mautrix/id"
)

// The rows of bucketSelf.
const (
	rowAccount  = "account"
	rowDevice   = "device" // deviceRow
	rowOutdated = "outdated"
	rowLists    = "lists" // see peopleRow
)

type accountRow struct {
	Pickle []byte
	Shared bool
	Backup id.KeyBackupVersion `json:",omitempty"`
}

// PutAccount is of crypto.Store.
func (s *cryptoStore) PutAccount(_ context.Context, a *crypto.OlmAccount) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := a.Internal.Pickle([]byte(pickleKey))
	if err != nil {
		return err
	}
	s.account = a
	return s.put(bucketSelf, s.key(rowAccount), accountRow{p, a.Shared, a.KeyBackupVersion})
}

// GetAccount is of crypto.Store.
func (s *cryptoStore) GetAccount(context.Context) (*crypto.OlmAccount, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.account != nil {
		return s.account, nil
	}
	var r accountRow
	if ok, err := s.get(bucketSelf, s.key(rowAccount), &r); !ok || err != nil {
		return nil, err
	}
	internal, err := olm.AccountFromPickled(r.Pickle, []byte(pickleKey))
	if err != nil {
		return nil, err
	}
	s.account = &crypto.OlmAccount{Internal: internal, Shared: r.Shared, KeyBackupVersion: r.Backup}
	return s.account, nil
}

type olmRow struct {
	Pickle                        []byte
	Created, Encrypted, Decrypted time.Time
}

// sessions are those with a device, the last that decrypted something first. s.mu is held.
func (s *cryptoStore) sessions(device id.SenderKey) (crypto.OlmSessionList, error) {
	if list, ok := s.olm[device]; ok {
		return list, nil
	}
	var rows []olmRow
	if _, err := s.get(bucketOlm, s.key(string(device)), &rows); err != nil {
		return nil, err
	}
	var list crypto.OlmSessionList
	for _, r := range rows {
		internal, err := olm.SessionFromPickled(r.Pickle, []byte(pickleKey))
		if err != nil {
			s.lost(bucketOlm, err)
			continue
		}
		o := &crypto.OlmSession{Internal: internal}
		o.CreationTime, o.LastEncryptedTime, o.LastDecryptedTime = r.Created, r.Encrypted, r.Decrypted
		list = append(list, o)
	}
	if len(list) > 0 {
		s.olm[device] = list
	}
	return list, nil
}

// keepSessions writes all sessions with a device. s.mu is held.
func (s *cryptoStore) keepSessions(device id.SenderKey, list crypto.OlmSessionList) error {
	slices.SortStableFunc(list, func(a, b *crypto.OlmSession) int { return b.LastDecryptedTime.Compare(a.LastDecryptedTime) })
	if len(list) == 0 {
		delete(s.olm, device)
		s.set(bucketOlm, s.key(string(device)), nil)
		return nil
	}
	s.olm[device] = list
	rows := make([]olmRow, 0, len(list))
	for _, o := range list {
		p, err := o.Internal.Pickle([]byte(pickleKey))
		if err != nil {
			return err
		}
		rows = append(rows, olmRow{p, o.CreationTime, o.LastEncryptedTime, o.LastDecryptedTime})
	}
	return s.put(bucketOlm, s.key(string(device)), rows)
}

// AddSession is of crypto.Store.
func (s *cryptoStore) AddSession(_ context.Context, device id.SenderKey, o *crypto.OlmSession) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.sessions(device)
	if err != nil {
		return err
	}
	return s.keepSessions(device, append(slices.Clone(list), o))
}

// UpdateSession is of crypto.Store.
func (s *cryptoStore) UpdateSession(_ context.Context, device id.SenderKey, o *crypto.OlmSession) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.sessions(device)
	if err != nil || !slices.Contains(list, o) { // it was deleted meanwhile
		return err
	}
	return s.keepSessions(device, slices.Clone(list))
}

// DeleteSession is of crypto.Store.
func (s *cryptoStore) DeleteSession(_ context.Context, device id.SenderKey, o *crypto.OlmSession) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.sessions(device)
	if err != nil {
		return err
	}
	return s.keepSessions(device, slices.DeleteFunc(slices.Clone(list), func(other *crypto.OlmSession) bool { return other == o }))
}

// HasSession is of crypto.Store.
func (s *cryptoStore) HasSession(ctx context.Context, device id.SenderKey) bool {
	o, err := s.GetLatestSession(ctx, device)
	return err == nil && o != nil
}

// GetSessions is of crypto.Store.
func (s *cryptoStore) GetSessions(_ context.Context, device id.SenderKey) (crypto.OlmSessionList, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.sessions(device)
	return slices.Clone(list), err
}

// GetLatestSession is of crypto.Store.
func (s *cryptoStore) GetLatestSession(_ context.Context, device id.SenderKey) (*crypto.OlmSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.sessions(device)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return list[0], nil
}

// GetNewestSessionCreationTS is of crypto.Store. A session that was never used does not count.
func (s *cryptoStore) GetNewestSessionCreationTS(_ context.Context, device id.SenderKey) (newest time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, err := s.sessions(device)
	for _, o := range list {
		used := !o.LastEncryptedTime.Equal(o.CreationTime) || !o.LastDecryptedTime.Equal(o.CreationTime)
		if used && o.CreationTime.After(newest) {
			newest = o.CreationTime
		}
	}
	return newest, err
}

// PutOlmHash is of crypto.Store.
func (s *cryptoStore) PutOlmHash(_ context.Context, hash [32]byte, at time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.key(string(hash[:]))
	if had, err := s.raw(bucketSeen, key); err != nil || had != nil {
		return err
	}
	s.set(bucketSeen, key, binary.BigEndian.AppendUint64(nil, uint64(at.UnixMilli())))
	return nil
}

// GetOlmHash is of crypto.Store.
func (s *cryptoStore) GetOlmHash(_ context.Context, hash [32]byte) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, err := s.raw(bucketSeen, s.key(string(hash[:])))
	if err != nil || len(v) != 8 {
		return time.Time{}, err
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(v))), nil
}

// DeleteOldOlmHashes is of crypto.Store.
func (s *cryptoStore) DeleteOldOlmHashes(ctx context.Context, before time.Time) error {
	return s.each(ctx, bucketSeen, nil, func(key, v []byte) error {
		if len(v) != 8 || time.UnixMilli(int64(binary.BigEndian.Uint64(v))).Before(before) {
			s.mu.Lock()
			s.set(bucketSeen, key, nil)
			s.mu.Unlock()
		}
		return nil
	})
}
