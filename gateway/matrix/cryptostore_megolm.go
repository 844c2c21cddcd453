//go:build goolm

package matrix

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"go.mau.fi/util/dbutil"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/olm"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

type inboundRow struct {
	Pickle        []byte
	SigningKey    id.Ed25519
	SenderKey     id.Curve25519
	Room          id.RoomID
	Session       id.SessionID
	Chains        []string `json:",omitempty"`
	RatchetSafety crypto.RatchetSafety
	ReceivedAt    time.Time
	MaxAge        int64               `json:",omitempty"` // milliseconds
	MaxMessages   int                 `json:",omitempty"`
	SharedHistory *bool               `json:",omitempty"`
	Scheduled     bool                `json:",omitempty"`
	Backup        id.KeyBackupVersion `json:",omitempty"`
	Source        id.KeySource
	SourceUser    id.UserID `json:",omitempty"`
}

func (r inboundRow) session() (*crypto.InboundGroupSession, error) {
	internal, err := olm.InboundGroupSessionFromPickled(r.Pickle, []byte(pickleKey))
	if err != nil {
		return nil, err
	}
	chains := r.Chains
	if chains == nil {
		chains = []string{}
	}
	return &crypto.InboundGroupSession{
		Internal: internal, SigningKey: r.SigningKey, SenderKey: r.SenderKey, RoomID: r.Room, ForwardingChains: chains,
		RatchetSafety: r.RatchetSafety, ReceivedAt: r.ReceivedAt, MaxAge: r.MaxAge, MaxMessages: r.MaxMessages,
		SharedHistory: r.SharedHistory, IsScheduled: r.Scheduled, KeyBackupVersion: r.Backup, KeySource: r.Source, SourceUser: r.SourceUser,
	}, nil
}

// Sessions, and the news that they are withheld, are kept apart by the user from whom they came: anybody may say to have any
// session, and what one says must not touch what another said. givenBy names that user to the store, past mautrix, which knows a
// session by room and id alone; without it the session is ours.
func givenBy(ctx context.Context, u id.UserID) context.Context {
	return context.WithValue(ctx, giverKey{}, u)
}

type giverKey struct{}

// inboundKey is the key of the rows about a session.
func (s *cryptoStore) inboundKey(ctx context.Context, room id.RoomID, session id.SessionID) []byte {
	if u, ok := ctx.Value(giverKey{}).(id.UserID); ok {
		return s.key(string(room), string(session), string(u))
	}
	return s.key(string(room), string(session))
}

// giverOf is who gave us a session; "" when it is ours, or nobody did.
func (s *cryptoStore) giverOf(ctx context.Context, room id.RoomID, session id.SessionID) (u id.UserID, err error) {
	ours := false
	err = s.eachInbound(ctx, s.key(string(room), string(session)), func(key []byte, r inboundRow) error {
		ours = ours || len(key) == 2*nameBytes
		if r.Source == id.KeySourceDirect {
			u = r.SourceUser
		}
		return nil
	})
	if ours {
		return "", err
	}
	return u, err
}

// contradicts says whether g, with the id of r, is no other part of the same session.
func (r inboundRow) contradicts(g *crypto.InboundGroupSession) bool {
	had, err := r.session()
	if err != nil {
		return false
	}
	at := max(had.Internal.FirstKnownIndex(), g.Internal.FirstKnownIndex())
	a, aerr := had.Internal.Export(at)
	b, berr := g.Internal.Export(at)
	return aerr != nil || berr != nil || !bytes.Equal(a, b)
}

// PutGroupSession is of crypto.Store. A session that a device gave us itself stays that device's, whichever else says to have made it,
// and what replaces it, to read what was said earlier, must lead to it: an exported session carries no signature.
func (s *cryptoStore) PutGroupSession(ctx context.Context, g *crypto.InboundGroupSession) error {
	p, err := g.Internal.Pickle([]byte(pickleKey))
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.inboundKey(ctx, g.RoomID, g.ID())
	var had inboundRow
	if ok, err := s.get(bucketInbound, key, &had); err != nil {
		return err
	} else if ok && had.Source == id.KeySourceDirect && (had.SenderKey != g.SenderKey || had.contradicts(g)) {
		return nil
	}
	s.set(bucketWithheld, key, nil)
	return s.put(bucketInbound, key, inboundRow{
		p, g.SigningKey, g.SenderKey, g.RoomID, g.ID(), g.ForwardingChains, g.RatchetSafety, g.ReceivedAt, g.MaxAge, g.MaxMessages,
		g.SharedHistory, g.IsScheduled, g.KeyBackupVersion, g.KeySource, g.SourceUser,
	})
}

// GetGroupSession is of crypto.Store.
func (s *cryptoStore) GetGroupSession(ctx context.Context, room id.RoomID, session id.SessionID) (*crypto.InboundGroupSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var r inboundRow
	ok, err := s.get(bucketInbound, s.inboundKey(ctx, room, session), &r)
	if err != nil {
		return nil, err
	}
	if ok {
		g, err := r.session()
		if err == nil {
			return g, nil
		}
		s.lost(bucketInbound, err)
	}
	w, err := s.withheld(ctx, room, session)
	if err != nil || w == nil {
		return nil, err
	}
	return nil, w
}

func (s *cryptoStore) withheld(ctx context.Context, room id.RoomID, session id.SessionID) (*event.RoomKeyWithheldEventContent, error) {
	var w event.RoomKeyWithheldEventContent
	if ok, err := s.get(bucketWithheld, s.inboundKey(ctx, room, session), &w); !ok || err != nil {
		return nil, err
	}
	return &w, nil
}

// GetWithheldGroupSession is of crypto.Store.
func (s *cryptoStore) GetWithheldGroupSession(ctx context.Context, room id.RoomID, session id.SessionID) (*event.RoomKeyWithheldEventContent, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.withheld(ctx, room, session)
}

// PutWithheldGroupSession is of crypto.Store. A session that is there stays.
func (s *cryptoStore) PutWithheldGroupSession(ctx context.Context, w event.RoomKeyWithheldEventContent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.inboundKey(ctx, w.RoomID, w.SessionID)
	for _, bucket := range []string{bucketInbound, bucketWithheld} {
		if had, err := s.raw(bucket, key); err != nil || had != nil {
			return err
		}
	}
	return s.put(bucketWithheld, key, w)
}

// RedactGroupSession is of crypto.Store.
func (s *cryptoStore) RedactGroupSession(ctx context.Context, room id.RoomID, session id.SessionID, reason string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var r inboundRow
	key := s.inboundKey(ctx, room, session)
	if ok, err := s.get(bucketInbound, key, &r); !ok || err != nil {
		return err
	}
	return s.redact(key, r, reason)
}

// redact puts a note that a session is gone in its place. s.mu is held.
func (s *cryptoStore) redact(key []byte, r inboundRow, reason string) error {
	s.set(bucketInbound, key, nil)
	return s.put(bucketWithheld, key, event.RoomKeyWithheldEventContent{
		RoomID: r.Room, Algorithm: id.AlgorithmMegolmV1, SessionID: r.Session, SenderKey: r.SenderKey,
		Code: event.RoomKeyWithheldBeeperRedacted, Reason: "Session redacted: " + reason,
	})
}

func (s *cryptoStore) redactAll(ctx context.Context, room id.RoomID, reason string, match func(inboundRow) bool) (out []id.SessionID, err error) {
	err = s.eachInbound(ctx, s.ofRoom(room), func(key []byte, r inboundRow) error {
		if !match(r) {
			return nil
		}
		out = append(out, r.Session)
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.redact(key, r, reason)
	})
	return out, err
}

// ofRoom begins the keys of a room's sessions, or of all ("").
func (s *cryptoStore) ofRoom(room id.RoomID) []byte {
	if room == "" {
		return nil
	}
	return s.key(string(room))
}

// eachInbound calls f for the sessions whose keys begin with prefix.
func (s *cryptoStore) eachInbound(ctx context.Context, prefix []byte, f func(key []byte, r inboundRow) error) error {
	return s.each(ctx, bucketInbound, prefix, func(key, _ []byte) error {
		s.mu.Lock()
		var r inboundRow
		ok, err := s.get(bucketInbound, key, &r)
		s.mu.Unlock()
		if !ok || err != nil {
			return err
		}
		return f(key, r)
	})
}

// RedactGroupSessions is of crypto.Store.
func (s *cryptoStore) RedactGroupSessions(ctx context.Context, room id.RoomID, sender id.SenderKey, reason string) ([]id.SessionID, error) {
	if room == "" && sender == "" {
		return nil, errors.New("neither a room nor a sender whose sessions to redact")
	}
	return s.redactAll(ctx, room, reason, func(r inboundRow) bool {
		return (sender == "" || r.SenderKey == sender) && !r.Scheduled && !r.ReceivedAt.IsZero()
	})
}

// RedactExpiredGroupSessions is of crypto.Store.
func (s *cryptoStore) RedactExpiredGroupSessions(ctx context.Context) ([]id.SessionID, error) {
	return s.redactAll(ctx, "", "expired", func(r inboundRow) bool {
		age := 2 * time.Duration(r.MaxAge) * time.Millisecond
		return !r.Scheduled && !r.ReceivedAt.IsZero() && age > 0 && time.Since(r.ReceivedAt) > age
	})
}

// RedactOutdatedGroupSessions is of crypto.Store.
func (s *cryptoStore) RedactOutdatedGroupSessions(ctx context.Context) ([]id.SessionID, error) {
	return s.redactAll(ctx, "", "outdated", func(r inboundRow) bool { return r.ReceivedAt.IsZero() })
}

func (s *cryptoStore) list(ctx context.Context, room id.RoomID, want func(inboundRow) bool) dbutil.RowIter[*crypto.InboundGroupSession] {
	var out []*crypto.InboundGroupSession
	err := s.eachInbound(ctx, s.ofRoom(room), func(_ []byte, r inboundRow) error {
		if !want(r) {
			return nil
		}
		g, err := r.session()
		if err == nil {
			out = append(out, g)
		}
		return err
	})
	return dbutil.NewSliceIterWithError(out, err)
}

func anyInbound(inboundRow) bool { return true }

// GetGroupSessionsForRoom is of crypto.Store.
func (s *cryptoStore) GetGroupSessionsForRoom(ctx context.Context, room id.RoomID) dbutil.RowIter[*crypto.InboundGroupSession] {
	return s.list(ctx, room, anyInbound)
}

// GetAllGroupSessions is of crypto.Store.
func (s *cryptoStore) GetAllGroupSessions(ctx context.Context) dbutil.RowIter[*crypto.InboundGroupSession] {
	return s.list(ctx, "", anyInbound)
}

// GetGroupSessionsWithoutKeyBackupVersion is of crypto.Store.
func (s *cryptoStore) GetGroupSessionsWithoutKeyBackupVersion(ctx context.Context, v id.KeyBackupVersion) dbutil.RowIter[*crypto.InboundGroupSession] {
	return s.list(ctx, "", func(r inboundRow) bool { return r.Backup != v })
}

type outboundRow struct {
	Pickle             []byte
	Room               id.RoomID
	Shared             bool
	MaxMessages, Count int
	MaxAge             time.Duration
	Created, Encrypted time.Time
	SharedHistory      *bool `json:",omitempty"`
}

// AddOutboundGroupSession is of crypto.Store.
func (s *cryptoStore) AddOutboundGroupSession(_ context.Context, o *crypto.OutboundGroupSession) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outbound[o.RoomID] = o
	return s.keepOutbound(o)
}

// UpdateOutboundGroupSession is of crypto.Store. A session that was taken away meanwhile stays away.
func (s *cryptoStore) UpdateOutboundGroupSession(_ context.Context, o *crypto.OutboundGroupSession) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outbound[o.RoomID] != o {
		return nil
	}
	return s.keepOutbound(o)
}

func (s *cryptoStore) keepOutbound(o *crypto.OutboundGroupSession) error {
	p, err := o.Internal.Pickle([]byte(pickleKey))
	if err != nil {
		return err
	}
	return s.put(bucketOutbound, s.key(string(o.RoomID)), outboundRow{
		p, o.RoomID, o.Shared, o.MaxMessages, o.MessageCount, o.MaxAge, o.CreationTime, o.LastEncryptedTime, o.SharedHistory,
	})
}

// GetOutboundGroupSession is of crypto.Store.
func (s *cryptoStore) GetOutboundGroupSession(_ context.Context, room id.RoomID) (*crypto.OutboundGroupSession, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.outbound[room]; o != nil {
		return o, nil
	}
	var r outboundRow
	if ok, err := s.get(bucketOutbound, s.key(string(room)), &r); !ok || err != nil {
		return nil, err
	}
	internal, err := olm.OutboundGroupSessionFromPickled(r.Pickle, []byte(pickleKey))
	if err != nil {
		s.lost(bucketOutbound, err)
		return nil, nil
	}
	o := &crypto.OutboundGroupSession{
		Internal: internal, RoomID: room, Shared: r.Shared, MaxMessages: r.MaxMessages, MessageCount: r.Count, SharedHistory: r.SharedHistory,
		Users: map[crypto.UserDevice]crypto.OGSState{},
	}
	o.MaxAge, o.CreationTime, o.LastEncryptedTime = r.MaxAge, r.Created, r.Encrypted
	s.outbound[room] = o
	return o, nil
}

// RemoveOutboundGroupSession is of crypto.Store.
func (s *cryptoStore) RemoveOutboundGroupSession(_ context.Context, room id.RoomID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.outbound, room)
	s.set(bucketOutbound, s.key(string(room)), nil)
	return nil
}

// MarkOutboundGroupSessionShared is of crypto.Store. Nothing is kept: others' requests for keys are refused.
func (s *cryptoStore) MarkOutboundGroupSessionShared(context.Context, id.UserID, id.IdentityKey, id.SessionID) error {
	return nil
}

// IsOutboundGroupSessionShared is of crypto.Store.
func (s *cryptoStore) IsOutboundGroupSessionShared(context.Context, id.UserID, id.IdentityKey, id.SessionID) (bool, error) {
	return false, nil
}

// A row of bucketIndices holds what was read at indicesPerRow indices of a session: for each the index within the row and
// the beginning of a hash of the event's id and time.
const (
	indicesPerRow = 64
	indexBytes    = 1 + 15
)

// ValidateMessageIndex is of crypto.Store. Indices are kept apart by who gave the session, as sessions are: what somebody repeats under
// their own name takes nothing from whose it is. Rows without a name are ours, or of a store from before that, and count as well.
func (s *cryptoStore) ValidateMessageIndex(ctx context.Context, session id.SessionID, ev id.EventID, index uint, ms int64) (bool, error) {
	at := func(parts ...string) []byte {
		return binary.BigEndian.AppendUint32(s.key(parts...), uint32(index/indicesPerRow))
	}
	keys := [][]byte{at(string(session))}
	if u, ok := ctx.Value(giverKey{}).(id.UserID); ok {
		keys = append(keys, at(string(session), string(u)))
	}
	h := sha256.Sum256(binary.BigEndian.AppendUint64([]byte(ev), uint64(ms)))
	entry := append([]byte{byte(index % indicesPerRow)}, h[:indexBytes-1]...)
	s.mu.Lock()
	defer s.mu.Unlock()
	var row []byte
	for _, key := range keys {
		var err error
		if row, err = s.raw(bucketIndices, key); err != nil {
			return false, err
		}
		for rest := row; len(rest) >= indexBytes; rest = rest[indexBytes:] {
			if rest[0] == entry[0] {
				return bytes.Equal(rest[:indexBytes], entry), nil
			}
		}
	}
	if ev == "" && ms == 0 { // only asked whether it was read
		return true, nil
	}
	s.set(bucketIndices, keys[len(keys)-1], append(bytes.Clone(row), entry...))
	return true, nil
}
