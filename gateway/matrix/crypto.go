//go:build goolm

package matrix

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// CanEncrypt says whether this build has end-to-end encryption (build tag goolm).
const CanEncrypt = true

// engine is the bot's end-to-end encryption: mautrix's machine with one device, over the crypto file. The machine's own
// requests pass flushing, so that nothing goes out which follows from what is not durable yet. Safe for concurrent use.
type engine struct {
	c     *Client
	cfg   CryptoConfig
	store *cryptoStore
	log   *slog.Logger

	mach  atomic.Pointer[crypto.OlmMachine] // nil until the device is there
	token atomic.Pointer[string]            // of the device, where it has one of its own

	mu     sync.Mutex
	asked  map[ids.UserID]time.Time // whose devices were asked for without an answer
	sought map[ids.UserID]time.Time // when they were last asked for because of a device that nobody knows
	wanted map[wish]bool            // sessions whose key was asked for
	claims map[id.UserID]*claim     // on what is known of people's devices
	done   map[ids.RoomID][]string  // records that were sent: what is kept of them goes with the next commit
	keeper *keeper

	counted  time.Time // when one-time keys were last counted by asking; of the reader of /sync
	fellBack time.Time // when a fallback key was last published; of the same

	copied  atomic.Bool // the device's keys are in use elsewhere
	epoch   sync.Mutex  // held while an epoch is renewed
	renewed time.Time   // under epoch
}

// newEngine opens the crypto file. It asks nobody.
func newEngine(c *Client, cfg CryptoConfig) (*engine, error) {
	store, err := openCryptoStore(cfg.Table, cfg.Key, c.cfg.Log)
	if err != nil {
		return nil, err
	}
	e := &engine{
		c: c, cfg: cfg, store: store, log: c.cfg.Log,
		asked: map[ids.UserID]time.Time{}, sought: map[ids.UserID]time.Time{}, wanted: map[wish]bool{}, claims: map[id.UserID]*claim{}, done: map[ids.RoomID][]string{},
	}
	if err := e.loadRooms(); err != nil {
		return nil, err
	}
	e.keeper = newKeeper(e)
	if err := store.loadSent(context.Background(), c.cfg.Now()); err != nil {
		return nil, err
	}
	c.book.keep = e.keepRoom
	return e, nil
}

type roomRow struct {
	ID   ids.RoomID
	Room *bookedRoom
}

func (e *engine) loadRooms() error {
	return e.store.each(context.Background(), bucketRooms, nil, func(_, raw []byte) error {
		var r roomRow
		if json.Unmarshal(raw, &r) == nil && r.Room != nil {
			e.c.book.rooms[r.ID] = r.Room
		}
		return nil
	})
}

// keepRoom makes what is known of an encrypted room durable.
func (e *engine) keepRoom(room ids.RoomID, r *bookedRoom) error {
	e.c.book.mu.Lock()
	raw, err := json.Marshal(roomRow{room, r})
	e.c.book.mu.Unlock()
	if err != nil {
		return err
	}
	e.store.mu.Lock()
	e.store.set(bucketRooms, e.store.key(string(room)), raw)
	e.store.mu.Unlock()
	return e.store.Flush(context.Background())
}

// machine is the machine, or an outcome that says that it is not there yet.
func (e *engine) machine() (*crypto.OlmMachine, error) {
	if m := e.mach.Load(); m != nil {
		return m, nil
	}
	return nil, lane.Outcome{Verdict: lane.Retry, Code: "not ready", Reason: "the bot has no device for encryption yet"}
}

// machineOutcome makes an outcome of what the machine's own requests came to: nothing of ours was sent.
func machineOutcome(what string, err error) error {
	return fmt.Errorf("%s: %w", what, notSent(outcome(err, true, false)))
}

// encrypt makes an m.room.encrypted content of an event's content, durable together with the state of the ratchet behind it.
// What a record became once it stays, so a repeated send has the same bytes; when the record says something else by now, which
// it may only if it was certainly not sent, it is encrypted anew. No state of a ratchet is used for two contents.
//
// of is what tells two things that a record says apart, plain gives the content itself and is called at most once.
func (e *engine) encrypt(ctx context.Context, in ids.RoomID, record, kind string, of []byte, plain func() ([]byte, error)) (json.RawMessage, error) {
	mach, err := e.machine()
	if err != nil {
		return nil, err
	}
	r := e.c.book.get(in)
	if r == nil {
		return nil, lane.Outcome{Verdict: lane.Retry, Code: codeEncrypted, Reason: "nothing is known of the room"}
	}
	r.busy.Lock()
	defer r.busy.Unlock()
	of = e.store.hash(kind, of)
	if row, ok, err := e.store.sent(record); err != nil {
		return nil, err
	} else if ok && row.Room == in && hmac.Equal(row.Of, of) {
		return row.Content, e.store.Flush(ctx)
	}
	if e.copied.Load() {
		return nil, lane.Outcome{Verdict: lane.Retry, Code: codeEncrypted, Reason: ErrCopied.Error()}
	}
	text, err := plain() // it may upload for long; who leaves meanwhile gets no key
	if err != nil {
		return nil, err
	}
	content, err := e.encryptNext(ctx, mach, in, kind, text)
	if err != nil {
		return nil, err
	}
	raw, err := encode(content)
	if err != nil {
		return nil, err
	}
	if err := e.store.putSent(record, sentRow{record, raw, of, in, e.c.cfg.Now()}); err != nil {
		return nil, err
	}
	e.forgetDone(in)
	return raw, e.store.Flush(ctx)
}

// encryptNext encrypts with the room's session, which is made and shared first when there is none. Who is in the room is looked at
// once more when all requests are answered, however long that took: who left meanwhile can't read what is said.
func (e *engine) encryptNext(ctx context.Context, mach *crypto.OlmMachine, in ids.RoomID, kind string, plain []byte) (*event.EncryptedEventContent, error) {
	for range 3 {
		members, err := e.share(ctx, mach, in)
		if err != nil {
			return nil, err
		}
		if now, err := e.c.book.members(ctx, in); err != nil {
			return nil, err
		} else if !slices.Equal(now, members) {
			continue
		}
		content, err := mach.EncryptMegolmEvent(ctx, id.RoomID(in), event.Type{Type: kind, Class: event.MessageEventType}, json.RawMessage(plain))
		if !crypto.IsShareError(err) { // else news of a device took the session away
			return content, err
		}
	}
	return nil, lane.Outcome{Verdict: lane.Retry, Code: codeEncrypted, Reason: "the people of the room, or their devices, change too fast"}
}

// share sees to it that those in the room have the key of its session, and nobody else.
func (e *engine) share(ctx context.Context, mach *crypto.OlmMachine, in ids.RoomID) ([]ids.UserID, error) {
	members, err := e.c.book.members(ctx, in)
	if err != nil {
		return nil, err
	}
	if algorithm := e.c.book.algorithm(in); algorithm != megolm {
		return nil, lane.Outcome{Verdict: lane.Dead, Code: codeEncrypted, Reason: fmt.Sprintf("the room is encrypted in a way that is not known here (%q)", algorithm)}
	}
	if err := e.refresh(ctx, mach, members); err != nil {
		return nil, err
	}
	if !slices.Equal(members, e.c.book.shared(in)) { // somebody came or went: they get no part of what follows, or of what was
		if err := e.store.RemoveOutboundGroupSession(ctx, id.RoomID(in)); err != nil {
			return nil, err
		}
	}
	o, err := e.store.GetOutboundGroupSession(ctx, id.RoomID(in))
	if err != nil || o != nil && o.Shared && !o.Expired() {
		return members, err
	}
	if err := e.c.book.share(in, members); err != nil {
		return nil, err
	}
	users := make([]id.UserID, 0, len(members))
	for _, m := range members {
		users = append(users, id.UserID(m))
	}
	if err := mach.ShareGroupSession(ctx, id.RoomID(in), users); err != nil {
		return nil, machineOutcome("share the room's key", err)
	}
	return members, nil
}

// sent notes that a record is in its room: what it became is dropped with the room's next message, when the record has left
// its lane.
func (e *engine) sent(in ids.RoomID, record string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.done[in] = append(e.done[in], record)
}

func (e *engine) forgetDone(in ids.RoomID) {
	e.mu.Lock()
	list := e.done[in]
	delete(e.done, in)
	e.mu.Unlock()
	for _, record := range list {
		e.store.dropSent(record)
	}
}

// ciphertext is what a record became, as it stands in the event; "" when it was not encrypted.
func (e *engine) ciphertext(record string) (string, error) {
	row, ok, err := e.store.sent(record)
	if err != nil || !ok {
		return "", err
	}
	var o object
	if json.Unmarshal(row.Content, &o) != nil {
		return "", nil
	}
	return o.text("ciphertext"), nil
}

// recordOf is the record that became a ciphertext; "" when it is not ours, or long ago.
func (e *engine) recordOf(ciphertext string) string { return e.store.recordOf(ciphertext) }

// flushing makes durable what a request follows from before it goes out.
type flushing struct {
	e    *engine
	next http.RoundTripper
}

// RoundTrip is safe for concurrent use.
func (f flushing) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := f.e.store.Flush(req.Context()); err != nil {
		return nil, err
	}
	res, err := f.next.RoundTrip(req)
	label := "network"
	if err == nil {
		label = statusLabel(res.StatusCode)
	}
	f.e.c.metrics.requests.Inc(string(epKeys), label)
	return res, err
}

// client is mautrix's client for the machine: one try each, bounded answers, as the bot's device.
func (e *engine) client(device id.DeviceID) *mautrix.Client {
	cli := &mautrix.Client{
		HomeserverURL: e.c.base, UserAgent: "gatepost", UserID: id.UserID(e.c.bot), DeviceID: device,
		Client:          &http.Client{Transport: flushing{e, e.c.http.Transport}, CheckRedirect: e.c.http.CheckRedirect, Timeout: requestTimeout},
		IgnoreRateLimit: true, ResponseSizeLimit: syncLimit, AccessToken: e.c.accessToken(),
	}
	switch t := e.token.Load(); {
	case t != nil:
		cli.AccessToken = *t
	case e.c.cfg.Mode == Appservice:
		cli.SetAppServiceUserID, cli.SetAppServiceDeviceID = true, true
	}
	return cli
}

// start makes the machine of a device.
func (e *engine) start(ctx context.Context, device id.DeviceID) error {
	mach := crypto.NewOlmMachine(e.client(device), nil, e.store, stateStore{e.c.book})
	mach.SendKeysMinTrust = e.cfg.Trust.state()
	mach.ShareKeysMinTrust = id.TrustStateCrossSignedVerified
	mach.AllowKeyShare = allowKey(mach.AllowKeyShare)
	mach.DisableSharedGroupSessionTracking = true
	mach.DisableDecryptKeyFetching = true // fetch does it, one at a time for a person
	mach.DisableRatchetTracking = true
	mach.IgnorePostDecryptionParseErrors = true
	mach.SessionReceived = func(context.Context, id.RoomID, id.SessionID, uint32) { e.cfg.KeysCame() }
	if err := mach.Load(ctx); err != nil {
		return err
	}
	if !mach.GetAccount().Shared {
		if err := mach.ShareKeys(ctx, 0); err != nil {
			return machineOutcome("publish the bot's keys", err)
		}
	}
	if err := e.store.Flush(ctx); err != nil {
		return err
	}
	if old := e.mach.Swap(mach); old != nil {
		old.Destroy()
	}
	e.cfg.KeysCame() // those of before are here
	return nil
}

// stop ends what the machine still does by itself.
func (e *engine) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), epochAtStop)
	defer cancel()
	e.renewNow(ctx)
	if m := e.mach.Load(); m != nil {
		m.Destroy()
	}
	return e.store.Flush(context.Background())
}

// state is the least that a device must be for keys to be shared with it.
func (t Trust) state() id.TrustState {
	switch t {
	case TrustVerified:
		return id.TrustStateCrossSignedVerified
	case TrustCrossSigned:
		return id.TrustStateCrossSignedTOFU
	default:
		return id.TrustStateUnset
	}
}

// stateStore is what the machine may know of rooms.
type stateStore struct{ book *roomBook }

var _ crypto.StateStore = stateStore{}

// IsEncrypted is of crypto.StateStore.
func (s stateStore) IsEncrypted(_ context.Context, room id.RoomID) (bool, error) {
	return s.book.algorithm(ids.RoomID(room)) != "", nil
}

// GetEncryptionEvent is of crypto.StateStore.
func (s stateStore) GetEncryptionEvent(_ context.Context, room id.RoomID) (*event.EncryptionEventContent, error) {
	algorithm, messages, millis := s.book.encryption(ids.RoomID(room))
	if algorithm == "" {
		return nil, nil
	}
	return &event.EncryptionEventContent{Algorithm: id.Algorithm(algorithm), RotationPeriodMillis: millis, RotationPeriodMessages: messages}, nil
}

// GetHistoryVisibility is of crypto.StateStore.
func (s stateStore) GetHistoryVisibility(_ context.Context, room id.RoomID) (*event.HistoryVisibilityEventContent, error) {
	return &event.HistoryVisibilityEventContent{HistoryVisibility: event.HistoryVisibility(s.book.visibility(ids.RoomID(room)))}, nil
}

// FindSharedRooms is of crypto.StateStore.
func (s stateStore) FindSharedRooms(_ context.Context, user id.UserID) (rooms []id.RoomID, err error) {
	for _, r := range s.book.sharedWith(ids.UserID(user)) {
		rooms = append(rooms, id.RoomID(r))
	}
	return rooms, nil
}

// deviceToken is the token of the bot's device, where it has one of its own.
func (e *engine) deviceToken() string {
	if t := e.token.Load(); t != nil {
		return *t
	}
	return ""
}

// deviceName is the bot's device, where requests name it.
func (e *engine) deviceName() string {
	m := e.mach.Load()
	if m == nil || e.token.Load() != nil || e.c.cfg.Mode == Account {
		return ""
	}
	return string(m.Client.DeviceID)
}
