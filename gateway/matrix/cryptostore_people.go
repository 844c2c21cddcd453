//go:build goolm

package matrix

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"

	"maunium.net/go/mautrix/id"
)

type deviceKeysRow struct {
	Device   id.DeviceID
	Identity id.Curve25519
	Signing  id.Ed25519
	Trust    int    `json:",omitempty"`
	Deleted  bool   `json:",omitempty"`
	Name     string `json:",omitempty"`
}

func (r deviceKeysRow) device(u id.UserID) *id.Device {
	return &id.Device{UserID: u, DeviceID: r.Device, IdentityKey: r.Identity, SigningKey: r.Signing, Trust: id.TrustState(r.Trust), Deleted: r.Deleted, Name: r.Name}
}

func deviceRow(d *id.Device) deviceKeysRow {
	return deviceKeysRow{d.DeviceID, d.IdentityKey, d.SigningKey, int(d.Trust), d.Deleted, cut(d.Name, maxName)}
}

// peopleRow are the devices of a user. Those that are gone stay, so that their keys are known to be used up.
type peopleRow struct {
	Tracked bool // the homeserver tells when they change
	Lists   int  `json:",omitempty"` // how often we had lost what it told, when they were asked for
	Devices map[id.DeviceID]deviceKeysRow
}

// maxGone is the number of devices of a user that are gone and still remembered.
const maxGone = 100

func (s *cryptoStore) people(u id.UserID) (r peopleRow, err error) {
	_, err = s.get(bucketPeople, s.key(string(u)), &r)
	if r.Devices == nil {
		r.Devices = map[id.DeviceID]deviceKeysRow{}
	}
	return r, err
}

// GetDevices is of crypto.Store.
func (s *cryptoStore) GetDevices(_ context.Context, u id.UserID) (map[id.DeviceID]*id.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.people(u)
	if err != nil || !r.Tracked {
		return nil, err
	}
	out := map[id.DeviceID]*id.Device{}
	for name, d := range r.Devices {
		if !d.Deleted {
			out[name] = d.device(u)
		}
	}
	return out, nil
}

// GetDevice is of crypto.Store.
func (s *cryptoStore) GetDevice(_ context.Context, u id.UserID, name id.DeviceID) (*id.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.people(u)
	d, ok := r.Devices[name]
	if err != nil || !ok {
		return nil, err
	}
	return d.device(u), nil
}

// FindDeviceByKey is of crypto.Store.
func (s *cryptoStore) FindDeviceByKey(_ context.Context, u id.UserID, key id.IdentityKey) (*id.Device, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.people(u)
	for _, d := range r.Devices {
		if d.Identity == key {
			return d.device(u), err
		}
	}
	return nil, err
}

// PutDevice is of crypto.Store.
func (s *cryptoStore) PutDevice(_ context.Context, u id.UserID, d *id.Device) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.people(u)
	if err != nil {
		return err
	}
	r.Devices[d.DeviceID] = deviceRow(d)
	return s.put(bucketPeople, s.key(string(u)), r)
}

// PutDevices is of crypto.Store. The sessions with a device that is gone go with it, unless the same key is another device's too:
// anybody can announce a device with somebody else's key.
func (s *cryptoStore) PutDevices(ctx context.Context, u id.UserID, now map[id.DeviceID]*id.Device) error {
	alone, err := s.goneAlone(ctx, u, now)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.people(u)
	if err != nil {
		return err
	}
	r.Tracked, r.Lists = true, s.lists
	gone := 0
	for name, d := range r.Devices {
		if now[name] != nil {
			continue
		}
		if !d.Deleted && alone[d.Identity] {
			if err := s.keepSessions(d.Identity, nil); err != nil {
				return err
			}
		}
		d.Deleted = true
		r.Devices[name] = d
		if gone++; gone > maxGone {
			delete(r.Devices, name)
		}
	}
	for name, d := range now {
		r.Devices[name] = deviceRow(d)
	}
	if err := s.put(bucketPeople, s.key(string(u)), r); err != nil {
		return err
	}
	if s.outdated[u] {
		delete(s.outdated, u)
		return s.keepOutdated()
	}
	return nil
}

// goneAlone are the identity keys of a user's devices that are not in now, and are no other device's.
func (s *cryptoStore) goneAlone(ctx context.Context, u id.UserID, now map[id.DeviceID]*id.Device) (map[id.IdentityKey]bool, error) {
	s.mu.Lock()
	r, err := s.people(u)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	gone := map[id.IdentityKey]bool{}
	for name, d := range r.Devices {
		if now[name] == nil && !d.Deleted {
			gone[d.Identity] = true
		}
	}
	for _, d := range now {
		delete(gone, d.IdentityKey)
	}
	if len(gone) == 0 {
		return nil, nil
	}
	own := s.key(string(u))
	err = s.each(ctx, bucketPeople, nil, func(key, _ []byte) error {
		if bytes.Equal(key, own) {
			return nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		var other peopleRow
		if ok, err := s.get(bucketPeople, key, &other); !ok || err != nil {
			return err
		}
		for _, d := range other.Devices {
			if !d.Deleted {
				delete(gone, d.Identity)
			}
		}
		return nil
	})
	return gone, err
}

func (s *cryptoStore) keepOutdated() error {
	return s.put(bucketSelf, s.key(rowOutdated), slices.Sorted(maps.Keys(s.outdated)))
}

// FilterTrackedUsers is of crypto.Store.
func (s *cryptoStore) FilterTrackedUsers(_ context.Context, users []id.UserID) (out []id.UserID, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range users {
		r, err := s.people(u)
		if err != nil {
			return nil, err
		}
		if r.Tracked {
			out = append(out, u)
		}
	}
	return out, nil
}

// MarkTrackedUsersOutdated is of crypto.Store.
func (s *cryptoStore) MarkTrackedUsersOutdated(ctx context.Context, users []id.UserID) error {
	users, err := s.FilterTrackedUsers(ctx, users)
	if err != nil || len(users) == 0 {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range users {
		s.outdated[u] = true
	}
	return s.keepOutdated()
}

// GetOutdatedTrackedUsers is of crypto.Store.
func (s *cryptoStore) GetOutdatedTrackedUsers(context.Context) ([]id.UserID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.outdated)), nil
}

// isOutdated says whether the devices of a user must be asked for before they are relied on.
func (s *cryptoStore) isOutdated(u id.UserID) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outdated[u] || s.tracked[u] {
		return s.outdated[u], nil
	}
	r, err := s.people(u)
	known := r.Tracked && r.Lists == s.lists
	if known && err == nil {
		s.tracked[u] = true
	}
	return !known, err
}

// markAllOutdated makes isOutdated true for everybody.
func (s *cryptoStore) markAllOutdated(ctx context.Context) error {
	s.mu.Lock()
	s.lists++
	clear(s.tracked)
	err := s.put(bucketSelf, s.key(rowLists), s.lists)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.Flush(ctx)
}

// PutCrossSigningKey is of crypto.Store.
func (s *cryptoStore) PutCrossSigningKey(_ context.Context, u id.UserID, usage id.CrossSigningUsage, key id.Ed25519) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys, err := s.crossSigning(u)
	if err != nil {
		return err
	}
	k, had := keys[usage]
	if had && k.Key == key {
		return nil
	}
	if !had {
		k.First = key
	}
	k.Key = key
	keys[usage] = k
	return s.put(bucketKeys, s.key(string(u)), keys)
}

func (s *cryptoStore) crossSigning(u id.UserID) (map[id.CrossSigningUsage]id.CrossSigningKey, error) {
	keys := map[id.CrossSigningUsage]id.CrossSigningKey{}
	_, err := s.get(bucketKeys, s.key(string(u)), &keys)
	return keys, err
}

// GetCrossSigningKeys is of crypto.Store.
func (s *cryptoStore) GetCrossSigningKeys(_ context.Context, u id.UserID) (map[id.CrossSigningUsage]id.CrossSigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.crossSigning(u)
}

// ResetMasterKeyTOFU is of crypto.Store.
func (s *cryptoStore) ResetMasterKeyTOFU(_ context.Context, u id.UserID, key id.Ed25519) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	keys, err := s.crossSigning(u)
	if err != nil {
		return err
	}
	k, ok := keys[id.XSUsageMaster]
	if !ok || k.Key != key {
		return fmt.Errorf("this is not the master key of %s", u)
	}
	k.First = key
	keys[id.XSUsageMaster] = k
	return s.put(bucketKeys, s.key(string(u)), keys)
}

// signatureTree are the signatures on the keys of a user: by key, signer and the signer's key.
type signatureTree map[id.Ed25519]map[id.UserID]map[id.Ed25519]string

type signedRow struct {
	User id.UserID
	By   signatureTree
}

func (s *cryptoStore) signed(u id.UserID) (signedRow, error) {
	r := signedRow{User: u}
	_, err := s.get(bucketSigned, s.key(string(u)), &r)
	if r.By == nil {
		r.By = signatureTree{}
	}
	return r, err
}

// PutSignature is of crypto.Store.
func (s *cryptoStore) PutSignature(_ context.Context, u id.UserID, key id.Ed25519, signer id.UserID, signerKey id.Ed25519, signature string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.signed(u)
	if err != nil {
		return err
	}
	if r.By[key] == nil {
		r.By[key] = map[id.UserID]map[id.Ed25519]string{}
	}
	if r.By[key][signer] == nil {
		r.By[key][signer] = map[id.Ed25519]string{}
	}
	if r.By[key][signer][signerKey] == signature {
		return nil
	}
	r.By[key][signer][signerKey] = signature
	return s.put(bucketSigned, s.key(string(u)), r)
}

// GetSignaturesForKeyBy is of crypto.Store.
func (s *cryptoStore) GetSignaturesForKeyBy(_ context.Context, u id.UserID, key id.Ed25519, signer id.UserID) (map[id.Ed25519]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := s.signed(u)
	by := r.By[key][signer]
	if by == nil {
		by = map[id.Ed25519]string{}
	}
	return by, err
}

// IsKeySignedBy is of crypto.Store.
func (s *cryptoStore) IsKeySignedBy(ctx context.Context, u id.UserID, key id.Ed25519, signer id.UserID, signerKey id.Ed25519) (bool, error) {
	by, err := s.GetSignaturesForKeyBy(ctx, u, key, signer)
	_, ok := by[signerKey]
	return ok, err
}

// DropSignaturesByKey is of crypto.Store.
func (s *cryptoStore) DropSignaturesByKey(ctx context.Context, signer id.UserID, signerKey id.Ed25519) (n int64, err error) {
	err = s.each(ctx, bucketSigned, nil, func(key, _ []byte) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		var r signedRow
		if ok, err := s.get(bucketSigned, key, &r); !ok || err != nil {
			return err
		}
		before := n
		for _, by := range r.By {
			if _, ok := by[signer][signerKey]; ok {
				delete(by[signer], signerKey)
				n++
			}
		}
		if n == before {
			return nil
		}
		return s.put(bucketSigned, key, r)
	})
	return n, err
}

// PutSecret is of crypto.Store.
func (s *cryptoStore) PutSecret(_ context.Context, name id.Secret, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(bucketSelf, s.key("secret", string(name)), value)
}

// GetSecret is of crypto.Store.
func (s *cryptoStore) GetSecret(_ context.Context, name id.Secret) (value string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err = s.get(bucketSelf, s.key("secret", string(name)), &value)
	return value, err
}

// DeleteSecret is of crypto.Store.
func (s *cryptoStore) DeleteSecret(_ context.Context, name id.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(bucketSelf, s.key("secret", string(name)), nil)
	return nil
}
