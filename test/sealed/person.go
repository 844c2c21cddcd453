//go:build goolm

package sealed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/test/harness"
)

// Person is one log-in of a Matrix user. Run follows the rooms, and accepts no invitations; Say may be called meanwhile.
type Person struct {
	UserID string

	// OnEvent is called for each message that was encrypted and can be read, in order, from the goroutine of Run. Set before Run.
	OnEvent func(room string, e harness.Event)

	client  *mautrix.Client
	machine *crypto.OlmMachine

	mu    sync.Mutex // of names
	names map[id.RoomID]string
}

// Login logs in with a password, gives the person cross-signing keys and signs the new device with them.
func Login(ctx context.Context, hs harness.Homeserver, user, password string) (*Person, error) {
	client, err := mautrix.NewClient(hs.URL(), "", "")
	if err != nil {
		return nil, err
	}
	state := mautrix.NewMemoryStateStore()
	client.StateStore = state
	if _, err := client.Login(ctx, &mautrix.ReqLogin{
		Type: mautrix.AuthTypePassword, Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: user},
		Password: password, StoreCredentials: true,
	}); err != nil {
		return nil, fmt.Errorf("log in %s: %w", user, err)
	}
	known, ok := state.(crypto.StateStore)
	if !ok {
		return nil, errors.New("mautrix's memory of rooms does not suit its cryptography")
	}
	machine := crypto.NewOlmMachine(client, nil, crypto.NewMemoryStore(nil), known)
	if err := machine.Load(ctx); err != nil {
		return nil, err
	}
	if err := machine.ShareKeys(ctx, 0); err != nil {
		return nil, fmt.Errorf("upload the keys of %s: %w", user, err)
	}
	if _, _, err := machine.GenerateAndUploadCrossSigningKeysWithPassword(ctx, password, ""); err != nil {
		return nil, fmt.Errorf("cross-signing keys of %s: %w", user, err)
	}
	if err := machine.SignOwnDevice(ctx, machine.OwnIdentity()); err != nil {
		return nil, fmt.Errorf("sign the device of %s: %w", user, err)
	}
	p := &Person{UserID: string(client.UserID), client: client, machine: machine, names: map[id.RoomID]string{}}
	syncer := client.Syncer.(*mautrix.DefaultSyncer)
	syncer.OnSync(machine.ProcessSyncResponse)
	syncer.OnEvent(client.StateStoreSyncHandler)
	syncer.OnEventType(event.StateMember, machine.HandleMemberEvent)
	syncer.OnEventType(event.StateRoomName, p.named)
	syncer.OnEventType(event.EventEncrypted, p.read)
	return p, nil
}

// Run follows the rooms until ctx is done.
func (p *Person) Run(ctx context.Context) error {
	if err := p.client.SyncWithContext(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

func (p *Person) named(_ context.Context, e *event.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.names[e.RoomID] = e.Content.AsRoomName().Name
}

// RoomName is the name of a room, "" before it is known.
func (p *Person) RoomName(room string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.names[id.RoomID(room)]
}

// read reports an event that can be decrypted. One whose key is not here yet is not waited for: keys come first from gatepost.
func (p *Person) read(ctx context.Context, e *event.Event) {
	clear, err := p.machine.DecryptMegolmEvent(ctx, e)
	if err != nil {
		return
	}
	told := harness.Event{
		ID: string(e.ID), Type: clear.Type.Type, Sender: string(e.Sender), Millis: e.Timestamp, Raw: clear.Content.VeryRaw, Room: string(e.RoomID),
	}
	_ = json.Unmarshal(told.Raw, &told.Content) // a wrong type somewhere leaves the rest decoded
	p.OnEvent(told.Room, told)
}

// Say sends an encrypted text and returns its event id.
func (p *Person) Say(ctx context.Context, room, text string) (string, error) {
	content := &event.MessageEventContent{MsgType: event.MsgText, Body: text}
	to := id.RoomID(room)
	sealed, err := p.machine.EncryptMegolmEvent(ctx, to, event.EventMessage, content)
	if err != nil { // no session yet, or one that is used up
		members, merr := p.client.StateStore.GetRoomJoinedOrInvitedMembers(ctx, to)
		if merr != nil {
			return "", merr
		}
		if err := p.machine.ShareGroupSession(ctx, to, members); err != nil {
			return "", fmt.Errorf("share a key in %s: %w", room, err)
		}
		if sealed, err = p.machine.EncryptMegolmEvent(ctx, to, event.EventMessage, content); err != nil {
			return "", fmt.Errorf("encrypt for %s: %w", room, err)
		}
	}
	answer, err := p.client.SendMessageEvent(ctx, to, event.EventEncrypted, sealed)
	if err != nil {
		return "", err
	}
	return string(answer.EventID), nil
}
