//go:build goolm

package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/olm"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// took takes in what an answer of /sync says to the bot's device, and makes what follows from it durable. The position of the
// answer may be kept only after it returned nil.
func (e *engine) took(ctx context.Context, res syncResponse) error {
	mach := e.mach.Load()
	if mach == nil {
		return nil // the homeserver keeps what is for a device that has not asked yet
	}
	if people := slices.Concat(res.DeviceLists.Changed, res.DeviceLists.Left); len(people) > 0 {
		if err := e.outdated(ctx, people); err != nil {
			return err
		}
	}
	for _, raw := range res.ToDevice.Events {
		e.toDevice(ctx, mach, raw)
	}
	e.replenish(ctx, mach, res)
	mach.MarkOlmHashSavePoint(ctx)
	return e.store.Flush(ctx)
}

// toDevice handles one message to the bot's device. One that makes the machine panic is counted and left out.
func (e *engine) toDevice(ctx context.Context, mach *crypto.OlmMachine, raw json.RawMessage) {
	defer func() {
		if p := recover(); p != nil {
			e.c.metrics.ignored.Inc()
			e.log.Error("a message to the bot's device could not be handled", logkey.Reason, fmt.Sprint(p))
		}
	}()
	var o object
	if json.Unmarshal(raw, &o) != nil || !validUserID(o.text("sender")) || len(o["content"]) > maxContent || depth(o["content"]) > maxDepth {
		e.c.metrics.ignored.Inc()
		return
	}
	evt := &event.Event{
		Sender: id.UserID(o.text("sender")), Type: event.Type{Type: o.text("type"), Class: event.ToDeviceEventType},
		Content: event.Content{VeryRaw: o["content"]},
	}
	err := evt.Content.ParseRaw(evt.Type)
	if err != nil && !errors.Is(err, event.ErrUnsupportedContentType) {
		e.c.metrics.ignored.Inc()
		return
	}
	given := givenBy(ctx, evt.Sender)
	switch content := evt.Content.Parsed.(type) {
	case *event.EncryptedEventContent:
		if inner := mach.HandleEncryptedEvent(given, evt); inner != nil && concerns(inner.Type.Type, inner.Content.VeryRaw) {
			e.keeper.take(verifyEvent{Type: inner.Type.Type, Sender: ids.UserID(evt.Sender), Content: inner.Content.VeryRaw})
		}
	case *event.RoomKeyRequestEventContent:
		if evt.Sender == mach.Client.UserID { // nobody else is given keys on request
			e.keyAsked(ctx, mach, content)
		}
	case *event.RoomKeyWithheldEventContent:
		mach.HandleRoomKeyWithheld(given, content)
		e.cfg.KeysCame() // what waits for this key waits for nothing
	default:
		if concerns(evt.Type.Type, o["content"]) {
			e.keeper.take(verifyEvent{Type: evt.Type.Type, Sender: ids.UserID(evt.Sender), Content: slices.Clone(o["content"])})
		}
	}
}

// keyAsked answers a device of the bot's own user that asks for a key, if it is signed and still there.
func (e *engine) keyAsked(ctx context.Context, mach *crypto.OlmMachine, content *event.RoomKeyRequestEventContent) {
	if err := e.refresh(ctx, mach, []ids.UserID{e.c.bot}); err != nil {
		e.log.Info("a request for a key was not answered", logkey.Error, err.Error())
		return
	}
	from, err := e.store.giverOf(ctx, content.Body.RoomID, content.Body.SessionID)
	if err != nil {
		e.log.Info("a request for a key was not answered", logkey.Error, err.Error())
		return
	}
	if from != "" {
		ctx = givenBy(ctx, from)
	}
	mach.HandleRoomKeyRequest(ctx, mach.Client.UserID, content)
}

// allowKey refuses keys to devices that are gone, which the store remembers.
func allowKey(allow func(context.Context, *id.Device, event.RequestedKeyInfo) *crypto.KeyShareRejection) func(context.Context, *id.Device, event.RequestedKeyInfo) *crypto.KeyShareRejection {
	return func(ctx context.Context, d *id.Device, about event.RequestedKeyInfo) *crypto.KeyShareRejection {
		if d.Deleted {
			return &crypto.KeyShareRejectNoResponse
		}
		return allow(ctx, d, about)
	}
}

// decrypt reads an m.room.encrypted event. Errors: room.ErrNoKeys, ErrWithheld, ErrUnreadable, or an outcome of what had to be
// asked for. What it gives has the type, the content and the trust of what was said. An event that is news, and not one that is
// looked at again, may be a step of a verification.
func (e *engine) decrypt(ctx context.Context, in room.Event, news bool) (out room.Event, err error) {
	mach, err := e.machine()
	if err != nil {
		return in, err
	}
	defer func() {
		if p := recover(); p != nil {
			out, err = in, fmt.Errorf("%w: %v", room.ErrUnreadable, p)
		}
	}()
	evt := &event.Event{
		ID: id.EventID(in.ID), RoomID: id.RoomID(in.Room), Sender: id.UserID(in.Sender), Type: event.EventEncrypted,
		Timestamp: in.Sent.UnixMilli(), Content: event.Content{VeryRaw: in.Content},
	}
	if err := evt.Content.ParseRaw(evt.Type); err != nil {
		return in, fmt.Errorf("%w: %w", room.ErrUnreadable, err)
	}
	if err := e.refreshKnown(ctx, mach, in.Sender); err != nil {
		return in, err
	}
	evt.Content.AsEncrypted().RelatesTo = nil // opened takes it in, and says so
	sctx := ctx
	if in.Sender != e.c.bot {
		sctx = givenBy(ctx, evt.Sender)
	}
	clear, err := mach.DecryptMegolmEvent(sctx, evt)
	if err == nil && clear.Mautrix.TrustState == id.TrustStateUnknownDevice && e.seeks(in.Sender) {
		if _, err := e.fetch(ctx, mach, []id.UserID{evt.Sender}); err != nil {
			return in, machineOutcome("ask for people's devices", err)
		}
		e.found(in.Sender)
		clear, err = mach.DecryptMegolmEvent(sctx, evt)
	}
	if err != nil {
		return in, e.why(ctx, mach, in, evt, err)
	}
	if err := e.store.Flush(ctx); err != nil {
		return in, err
	}
	return e.opened(in, clear, news)
}

// refreshKnown asks for the devices of a sender whose devices changed.
func (e *engine) refreshKnown(ctx context.Context, mach *crypto.OlmMachine, sender ids.UserID) error {
	return e.refresh(ctx, mach, []ids.UserID{sender})
}

const relatesTo = "m.relates_to"

// opened is what the gateway sees of a decrypted event, checked as any other.
func (e *engine) opened(in room.Event, clear *event.Event, news bool) (room.Event, error) {
	content := clear.Content.VeryRaw
	var o object
	if json.Unmarshal(content, &o) != nil || o == nil || len(content) > maxContent || depth(content) > maxDepth {
		return in, fmt.Errorf("%w: no content", room.ErrUnreadable)
	}
	out := in
	if outside := (object{"c": in.Content}).object("c"); o.object(relatesTo) == nil && outside.object(relatesTo) != nil { // as the specification has it
		o[relatesTo] = outside[relatesTo]
		raw, err := encode(o)
		if err != nil {
			return in, fmt.Errorf("%w: %w", room.ErrUnreadable, err)
		}
		content, out.Loose = raw, true
	}
	out.Type, out.Content = clear.Type.Type, append(json.RawMessage(nil), content...)
	out.Trust = trustOf(clear.Mautrix)
	out.Encrypted = true
	if concerns(out.Type, out.Content) {
		if news && !e.c.own(out.Sender) {
			e.keeper.take(verifyEvent{Type: out.Type, Sender: out.Sender, Room: out.Room, ID: out.ID, Content: out.Content})
		}
		out.Type = ""
	}
	if !wanted(out.Type) || out.Type == kindEncrypted {
		out.Type = ""
	}
	if e.c.own(out.Sender) {
		out.ContentID = o.object("dev.gatepost").text("id")
	}
	return out, nil
}

// trustOf says how sure it is whose device spoke. One that its owner has logged out, because it was lost perhaps, speaks for nobody.
func trustOf(m event.MautrixInfo) room.Trust {
	if m.ForwardedKeys || m.TrustSource == nil && m.TrustState != id.TrustStateVerified || m.TrustSource != nil && m.TrustSource.Deleted {
		return room.Untrusted
	}
	switch m.TrustState {
	case id.TrustStateVerified, id.TrustStateCrossSignedVerified:
		return room.Verified
	case id.TrustStateCrossSignedTOFU:
		return room.CrossSigned
	case id.TrustStateUnset, id.TrustStateCrossSignedUntrusted:
		return room.Known
	default:
		return room.Untrusted
	}
}

// why says what follows from a failed decryption. A key that is missing is asked for, once.
func (e *engine) why(ctx context.Context, mach *crypto.OlmMachine, in room.Event, evt *event.Event, err error) error {
	switch {
	case errors.Is(err, crypto.ErrGroupSessionWithheld):
		return fmt.Errorf("%w: %w", room.ErrWithheld, err)
	case errors.Is(err, crypto.ErrNoSessionFound), errors.Is(err, olm.ErrUnknownMessageIndex):
		e.askKey(ctx, mach, in, evt)
		return room.ErrNoKeys
	default:
		return fmt.Errorf("%w: %w", room.ErrUnreadable, err)
	}
}

// maxWanted bounds the sessions that are remembered to have been asked for.
const maxWanted = 1000

// wish is a session that a sender's devices were asked for.
type wish struct {
	from    ids.UserID
	session id.SessionID
}

// askKey asks the sender's devices for the key of an event.
func (e *engine) askKey(ctx context.Context, mach *crypto.OlmMachine, in room.Event, evt *event.Event) {
	content := evt.Content.AsEncrypted()
	if len(content.SessionID) > maxUserID || len(content.SenderKey) > maxUserID {
		return
	}
	key := wish{in.Sender, content.SessionID}
	e.mu.Lock()
	asked := e.wanted[key]
	if len(e.wanted) >= maxWanted {
		clear(e.wanted)
	}
	e.wanted[key] = true
	e.mu.Unlock()
	if asked {
		return
	}
	err := mach.SendRoomKeyRequest(ctx, id.RoomID(in.Room), content.SenderKey, content.SessionID, ids.NewULID(e.c.cfg.Now()),
		map[id.UserID][]id.DeviceID{id.UserID(in.Sender): {"*"}})
	if err != nil {
		e.log.Info("a key could not be asked for", logkey.Room, string(in.Room), logkey.Error, machineOutcome("ask for a key", err).Error())
	}
}
