//go:build goolm

package matrix

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
	"pgregory.net/rapid"
)

var testKey = []byte("0123456789abcdef0123456789abcdef")

func openTestStore(t interface{ Fatal(...any) }, table CryptoTable) *cryptoStore {
	s, err := openCryptoStore(table, testKey, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The store does what mautrix's own in-memory store does, whatever is done in whatever order, and also when it is closed
// and opened again, or a commit fails, on the way.
func TestStoreAgainstMemoryStore(t *testing.T) {
	users := rapid.SampledFrom([]id.UserID{"@a:x", "@b:x"})
	names := rapid.SampledFrom([]id.DeviceID{"D1", "D2", "D3"})
	keys := rapid.SampledFrom([]id.Ed25519{"k1", "k2", "k3"})
	identity := rapid.SampledFrom([]id.Curve25519{"i1", "i2", "i3"})
	ctx := context.Background()
	rapid.Check(t, func(t *rapid.T) {
		table := newMemTable()
		s, model := openTestStore(t, table), crypto.NewMemoryStore(nil)
		same := func(what string, got, want any) {
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%s: got %+v, want %+v", what, got, want)
			}
		}
		device := func(u id.UserID) *id.Device {
			return &id.Device{UserID: u, DeviceID: names.Draw(t, "device"), IdentityKey: identity.Draw(t, "identity"), SigningKey: keys.Draw(t, "signing"), Name: "n"}
		}
		t.Repeat(map[string]func(*rapid.T){
			"reopen": func(t *rapid.T) {
				if err := s.Flush(ctx); err != nil {
					t.Fatal(err)
				}
				table = table.clone()
				s = openTestStore(t, table)
			},
			"fail": func(*rapid.T) {
				table.fail = true
				if err := s.Flush(ctx); err == nil && len(s.pending) > 0 {
					t.Fatal("a failed commit is no error")
				}
				table.fail = false
			},
			"devices": func(t *rapid.T) {
				u := users.Draw(t, "user")
				list := map[id.DeviceID]*id.Device{}
				for range rapid.IntRange(0, 3).Draw(t, "n") {
					d := device(u)
					list[d.DeviceID] = d
				}
				if err := errors.Join(s.PutDevices(ctx, u, list), model.PutDevices(ctx, u, list)); err != nil {
					t.Fatal(err)
				}
			},
			"outdated": func(t *rapid.T) {
				u := users.Draw(t, "user")
				if err := errors.Join(s.MarkTrackedUsersOutdated(ctx, []id.UserID{u}), model.MarkTrackedUsersOutdated(ctx, []id.UserID{u})); err != nil {
					t.Fatal(err)
				}
			},
			"cross-signing": func(t *rapid.T) {
				u, k := users.Draw(t, "user"), keys.Draw(t, "key")
				if err := errors.Join(s.PutCrossSigningKey(ctx, u, id.XSUsageMaster, k), model.PutCrossSigningKey(ctx, u, id.XSUsageMaster, k)); err != nil {
					t.Fatal(err)
				}
				reset := keys.Draw(t, "reset")
				same("reset", s.ResetMasterKeyTOFU(ctx, u, reset) == nil, model.ResetMasterKeyTOFU(ctx, u, reset) == nil)
			},
			"sign": func(t *rapid.T) {
				u, k, by, byKey := users.Draw(t, "user"), keys.Draw(t, "key"), users.Draw(t, "signer"), keys.Draw(t, "signer key")
				if err := errors.Join(s.PutSignature(ctx, u, k, by, byKey, "sig"), model.PutSignature(ctx, u, k, by, byKey, "sig")); err != nil {
					t.Fatal(err)
				}
			},
			"drop": func(t *rapid.T) {
				by, byKey := users.Draw(t, "signer"), keys.Draw(t, "signer key")
				got, err := s.DropSignaturesByKey(ctx, by, byKey)
				want, _ := model.DropSignaturesByKey(ctx, by, byKey)
				if err != nil {
					t.Fatal(err)
				}
				same("dropped", got, want)
			},
			"index": func(t *rapid.T) {
				session := id.SessionID(rapid.SampledFrom([]string{"s1", "s2"}).Draw(t, "session"))
				ev := id.EventID(rapid.SampledFrom([]string{"$1", "$2"}).Draw(t, "event"))
				i, ms := rapid.UintRange(60, 68).Draw(t, "index"), rapid.Int64Range(1, 2).Draw(t, "time")
				got, err := s.ValidateMessageIndex(ctx, session, ev, i, ms)
				want, _ := model.ValidateMessageIndex(ctx, session, ev, i, ms)
				if err != nil {
					t.Fatal(err)
				}
				same("index", got, want)
			},
			"secret": func(t *rapid.T) {
				if err := errors.Join(s.PutSecret(ctx, "n", "v"), model.PutSecret(ctx, "n", "v")); err != nil {
					t.Fatal(err)
				}
				if rapid.Bool().Draw(t, "delete") {
					if err := errors.Join(s.DeleteSecret(ctx, "n"), model.DeleteSecret(ctx, "n")); err != nil {
						t.Fatal(err)
					}
				}
			},
			"": func(t *rapid.T) {
				for _, u := range []id.UserID{"@a:x", "@b:x"} {
					got, err := s.GetDevices(ctx, u)
					if err != nil {
						t.Fatal(err)
					}
					want, _ := model.GetDevices(ctx, u)
					same("devices", got, want)
					gotKeys, _ := s.GetCrossSigningKeys(ctx, u)
					wantKeys, _ := model.GetCrossSigningKeys(ctx, u)
					same("keys", gotKeys, wantKeys)
					for _, k := range []id.Ed25519{"k1", "k2", "k3"} {
						got, _ := s.IsKeySignedBy(ctx, u, k, "@a:x", "k1")
						want, _ := model.IsKeySignedBy(ctx, u, k, "@a:x", "k1")
						same("signed", got, want)
					}
				}
				got, _ := s.GetOutdatedTrackedUsers(ctx)
				want, _ := model.GetOutdatedTrackedUsers(ctx)
				slices.Sort(want)
				if len(got)+len(want) > 0 {
					same("outdated", got, want)
				}
				secret, _ := s.GetSecret(ctx, "n")
				wantSecret, _ := model.GetSecret(ctx, "n")
				same("secret", secret, wantSecret)
			},
		})
	})
}

func newAccount(t *testing.T) *crypto.OlmAccount {
	t.Helper()
	a := crypto.NewOlmAccount()
	if err := a.Internal.GenOneTimeKeys(5); err != nil {
		t.Fatal(err)
	}
	return a
}

// olmSession is one that us begins with them.
func olmSession(t *testing.T, us, them *crypto.OlmAccount) *crypto.OlmSession {
	t.Helper()
	keys, err := them.Internal.OneTimeKeys()
	if err != nil {
		t.Fatal(err)
	}
	var oneTime id.Curve25519
	for _, k := range keys {
		oneTime = k
	}
	internal, err := us.Internal.NewOutboundSession(them.IdentityKey(), oneTime)
	if err != nil {
		t.Fatal(err)
	}
	o := &crypto.OlmSession{Internal: internal}
	o.CreationTime, o.LastDecryptedTime = time.Now(), time.Now()
	return o
}

// Sessions go on after a restart where they were, and a session is one object however it is asked for.
func TestStoreKeepsSessions(t *testing.T) {
	ctx := context.Background()
	table := newMemTable()
	s := openTestStore(t, table)
	us, them := newAccount(t), newAccount(t)
	if err := s.PutAccount(ctx, us); err != nil {
		t.Fatal(err)
	}
	o := olmSession(t, us, them)
	if err := s.AddSession(ctx, them.IdentityKey(), o); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.GetLatestSession(ctx, them.IdentityKey()); got != o {
		t.Error("not the session that was added")
	}
	seen := map[string]bool{}
	for range 3 {
		got, err := s.GetLatestSession(ctx, them.IdentityKey())
		if err != nil || got == nil {
			t.Fatal(got, err)
		}
		_, c, err := got.Encrypt([]byte("the same"))
		if err != nil {
			t.Fatal(err)
		}
		if seen[string(c)] {
			t.Error("the ratchet stood still")
		}
		seen[string(c)] = true
		if err := errors.Join(s.UpdateSession(ctx, them.IdentityKey(), got), s.Flush(ctx)); err != nil {
			t.Fatal(err)
		}
		table = table.clone()
		s = openTestStore(t, table)
	}
	a, err := s.GetAccount(ctx)
	if err != nil || a == nil || a.IdentityKey() != us.IdentityKey() {
		t.Errorf("account %v, %v", a, err)
	}
	gone := map[id.DeviceID]*id.Device{"D": {UserID: "@a:x", DeviceID: "D", IdentityKey: them.IdentityKey()}}
	if err := errors.Join(s.PutDevices(ctx, "@a:x", gone), s.PutDevices(ctx, "@a:x", nil)); err != nil {
		t.Fatal(err)
	}
	if s.HasSession(ctx, them.IdentityKey()) {
		t.Error("a session with a device that is gone")
	}
}

// Who announces a device with somebody else's key, and takes it back, ends no session of theirs.
func TestStoreKeepsSessionsOfOthersKeys(t *testing.T) {
	ctx := context.Background()
	s := openTestStore(t, newMemTable())
	us, them := newAccount(t), newAccount(t)
	key := them.IdentityKey()
	if err := s.AddSession(ctx, key, olmSession(t, us, them)); err != nil {
		t.Fatal(err)
	}
	theirs := map[id.DeviceID]*id.Device{"PHONE": {UserID: "@alice:x", DeviceID: "PHONE", IdentityKey: key}}
	fake := map[id.DeviceID]*id.Device{"FAKE": {UserID: "@mallory:x", DeviceID: "FAKE", IdentityKey: key}}
	if err := errors.Join(s.PutDevices(ctx, "@alice:x", theirs), s.PutDevices(ctx, "@mallory:x", fake), s.PutDevices(ctx, "@mallory:x", nil)); err != nil {
		t.Fatal(err)
	}
	if !s.HasSession(ctx, key) {
		t.Error("mallory ended the session with alice's phone")
	}
	if err := s.PutDevices(ctx, "@alice:x", nil); err != nil {
		t.Fatal(err)
	}
	if s.HasSession(ctx, key) {
		t.Error("alice could not")
	}
}

// A session is its sender's: a forwarded key that says otherwise, with an earlier place in the ratchet, changes nothing.
func TestStoreKeepsWhoseSessionItIs(t *testing.T) {
	ctx := context.Background()
	s := openTestStore(t, newMemTable())
	out, err := crypto.NewOutboundGroupSession("!r", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	session := func(sender id.SenderKey, source id.KeySource) *crypto.InboundGroupSession {
		g, err := crypto.NewInboundGroupSession(sender, "signing", "!r", out.Internal.Key(), 0, 0, nil, false)
		if err != nil {
			t.Fatal(err)
		}
		g.KeySource = source
		return g
	}
	for _, g := range []*crypto.InboundGroupSession{session("alice", id.KeySourceDirect), session("mallory", id.KeySourceDirect), session("mallory", id.KeySourceForward)} {
		if err := s.PutGroupSession(ctx, g); err != nil {
			t.Fatal(err)
		}
	}
	if g, err := s.GetGroupSession(ctx, "!r", out.ID()); err != nil || g.SenderKey != "alice" {
		t.Errorf("the session is of %q now, %v", g.SenderKey, err)
	}
}

func TestStoreGroupSessions(t *testing.T) {
	ctx := context.Background()
	table := newMemTable()
	s := openTestStore(t, table)
	out, err := crypto.NewOutboundGroupSession("!r", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	in, err := crypto.NewInboundGroupSession("sender", "signing", "!r", out.Internal.Key(), time.Hour, 10, nil, false)
	if err != nil {
		t.Fatal(err)
	}
	withheld := event.RoomKeyWithheldEventContent{RoomID: "!r", SessionID: in.ID(), Code: event.RoomKeyWithheldUnverified}
	if err := s.PutWithheldGroupSession(ctx, withheld); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GetGroupSession(ctx, "!r", in.ID()); !errors.Is(err, crypto.ErrGroupSessionWithheld) {
		t.Errorf("withheld: %v", err)
	}
	out.Shared = true
	if err := errors.Join(s.PutGroupSession(ctx, in), s.AddOutboundGroupSession(ctx, out), s.Flush(ctx)); err != nil {
		t.Fatal(err)
	}
	index := uint(0)
	for range 3 {
		s = openTestStore(t, table.clone())
		o, err := s.GetOutboundGroupSession(ctx, "!r")
		if err != nil || o == nil {
			t.Fatal(o, err)
		}
		c, err := o.Encrypt([]byte("text"))
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.UpdateOutboundGroupSession(ctx, o), s.Flush(ctx)); err != nil {
			t.Fatal(err)
		}
		g, err := s.GetGroupSession(ctx, "!r", out.ID())
		if err != nil || g == nil {
			t.Fatal(g, err)
		}
		text, i, err := g.Internal.Decrypt(c)
		if err != nil || string(text) != "text" || i != index {
			t.Errorf("%q at %d, want index %d (%v)", text, i, index, err)
		}
		index++
		table = s.table.(*memTable)
	}
	if list, err := s.GetGroupSessionsForRoom(ctx, "!r").AsList(); err != nil || len(list) != 1 {
		t.Errorf("%d sessions, %v", len(list), err)
	}
	if list, err := s.GetGroupSessionsForRoom(ctx, "!other").AsList(); err != nil || len(list) != 0 {
		t.Errorf("%d sessions of another room, %v", len(list), err)
	}
	if ids, err := s.RedactGroupSessions(ctx, "!r", "", "test"); err != nil || len(ids) != 1 {
		t.Errorf("redacted %v, %v", ids, err)
	}
	if err := s.RemoveOutboundGroupSession(ctx, "!r"); err != nil {
		t.Fatal(err)
	}
	if err := s.UpdateOutboundGroupSession(ctx, out); err != nil {
		t.Fatal(err)
	}
	if o, err := s.GetOutboundGroupSession(ctx, "!r"); o != nil || err != nil {
		t.Error("a session that was taken away came back", err)
	}
}

// Nothing readable is in the file, neither in keys nor in values; another key is refused; a row that was tampered with is
// as if it was not there.
func TestStoreIsSealed(t *testing.T) {
	ctx := context.Background()
	table := newMemTable()
	s := openTestStore(t, table)
	d := &id.Device{UserID: "@canary:x", DeviceID: "CANARY", IdentityKey: "canary", SigningKey: "canary", Name: "canary"}
	if err := errors.Join(s.PutDevices(ctx, d.UserID, map[id.DeviceID]*id.Device{d.DeviceID: d}), s.PutSecret(ctx, "canary", "canary"), s.Flush(ctx)); err != nil {
		t.Fatal(err)
	}
	for k, v := range table.rows {
		if strings.Contains(strings.ToLower(k.key+string(v)), "canary") {
			t.Errorf("readable in %s", k.bucket)
		}
	}
	if _, err := openCryptoStore(table, []byte("another key, long enough"), s.log); !errors.Is(err, ErrWrongKey) {
		t.Errorf("another key: %v", err)
	}
	if _, err := openCryptoStore(table, []byte("short"), s.log); err == nil {
		t.Error("a short key is taken")
	}
	var a, b rowKey
	for k := range table.rows {
		if k.bucket == bucketPeople {
			a = k
		}
	}
	b = rowKey{bucketKeys, a.key}
	table.rows[b] = table.rows[a] // moved to another place
	s = openTestStore(t, table)
	if keys, err := s.GetCrossSigningKeys(ctx, d.UserID); err != nil || len(keys) != 0 {
		t.Errorf("a row of another bucket was read: %v %v", keys, err)
	}
	table.rows[a] = append([]byte("x"), table.rows[a]...)
	if devices, err := s.GetDevices(ctx, d.UserID); err != nil || devices != nil {
		t.Errorf("a damaged row was read: %v %v", devices, err)
	}
}

func TestStoreOlmHashes(t *testing.T) {
	ctx := context.Background()
	s := openTestStore(t, newMemTable())
	now := time.Now().Truncate(time.Second)
	for i := range 10 {
		if err := s.PutOlmHash(ctx, [32]byte{byte(i)}, now.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.DeleteOldOlmHashes(ctx, now.Add(5*time.Minute)); err != nil {
		t.Fatal(err)
	}
	var left []string
	for i := range 10 {
		if at, _ := s.GetOlmHash(ctx, [32]byte{byte(i)}); !at.IsZero() {
			left = append(left, fmt.Sprint(i))
		}
	}
	if got := strings.Join(left, ""); got != "56789" {
		t.Errorf("left: %s", got)
	}
}

// A row of indices takes 64 messages, and says no to a message that takes the place of another.
func TestStoreIndicesAreSmall(t *testing.T) {
	ctx := context.Background()
	table := newMemTable()
	s := openTestStore(t, table)
	for i := range uint(100) {
		if ok, err := s.ValidateMessageIndex(ctx, "s", id.EventID(fmt.Sprint("$", i)), i, 1); !ok || err != nil {
			t.Fatal(i, ok, err)
		}
	}
	if ok, _ := s.ValidateMessageIndex(ctx, "s", "$other", 70, 1); ok {
		t.Error("another message at a used index")
	}
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	rows, size := 0, 0
	for k, v := range table.rows {
		if k.bucket == bucketIndices {
			rows, size = rows+1, size+len(v)
		}
	}
	if rows != 2 || size > 100*indexBytes+2*28 {
		t.Errorf("%d rows, %d bytes", rows, size)
	}
}

// A new device of ours changes nothing about whose keys were the first that we saw.
func TestStoreClearKeepsFirstKeys(t *testing.T) {
	ctx := context.Background()
	table := newMemTable()
	s := openTestStore(t, table)
	err := errors.Join(
		s.PutCrossSigningKey(ctx, "@alice:x", id.XSUsageMaster, "first"),
		s.clear(ctx),
		s.PutCrossSigningKey(ctx, "@alice:x", id.XSUsageMaster, "another"),
		s.Flush(ctx),
	)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := openTestStore(t, table).GetCrossSigningKeys(ctx, "@alice:x")
	if k := keys[id.XSUsageMaster]; err != nil || k.First != "first" || k.Key != "another" {
		t.Errorf("%+v, %v", k, err)
	}
}
