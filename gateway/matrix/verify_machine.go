//go:build goolm

package matrix

import (
	"context"
	"fmt"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/sas"
	"github.com/gatepost/gatepost/internal/ids"
)

// verifier is the machine as verifications see it.
type verifier struct {
	mach *crypto.OlmMachine
	// inRoom sends an event into a room, encrypted if the room is.
	inRoom func(ctx context.Context, room ids.RoomID, typ string, content map[string]any) error
}

func (v verifier) us(context.Context) (sas.Side, error) {
	own := v.mach.OwnIdentity()
	side := sas.Side{User: string(own.UserID), Device: string(own.DeviceID), Key: string(own.SigningKey)}
	if v.mach.CrossSigningKeys != nil {
		side.Master = string(v.mach.CrossSigningKeys.MasterKey.PublicKey())
	}
	return side, nil
}

func (v verifier) them(ctx context.Context, user ids.UserID, device string) (sas.Side, error) {
	side := sas.Side{User: string(user), Device: device}
	found, err := v.mach.FetchKeys(ctx, []id.UserID{id.UserID(user)}, true)
	if err != nil {
		return side, fmt.Errorf("matrix: ask for the keys of %s: %w", user, err)
	}
	if d := found[id.UserID(user)][id.DeviceID(device)]; d != nil {
		side.Key = string(d.SigningKey)
	}
	keys, err := v.mach.CryptoStore.GetCrossSigningKeys(ctx, id.UserID(user))
	if err != nil {
		return side, fmt.Errorf("matrix: keys of %s: %w", user, err)
	}
	side.Master = string(keys[id.XSUsageMaster].Key)
	return side, nil
}

func (v verifier) say(ctx context.Context, room ids.RoomID, to sas.Side, typ string, content map[string]any) error {
	if room != "" {
		return v.inRoom(ctx, room, typ, content)
	}
	_, err := v.mach.Client.SendToDevice(ctx, event.Type{Type: typ, Class: event.ToDeviceEventType}, &mautrix.ReqSendToDevice{
		Messages: map[id.UserID]map[id.DeviceID]*event.Content{id.UserID(to.User): {id.DeviceID(to.Device): {Raw: content}}},
	})
	if err != nil {
		return fmt.Errorf("matrix: send %s: %w", typ, err)
	}
	return nil
}

// trust marks the device as one whose key was compared. With master it signs the user's master key, so that it counts for all
// devices that the user signs; a bot that has no keys to sign with can do only the first.
func (v verifier) trust(ctx context.Context, them sas.Side, master bool) error {
	d, err := v.mach.CryptoStore.GetDevice(ctx, id.UserID(them.User), id.DeviceID(them.Device))
	if err != nil || d == nil || string(d.SigningKey) != them.Key {
		return fmt.Errorf("matrix: device %s of %s is not the one that was compared: %w", them.Device, them.User, err)
	}
	d.Trust = id.TrustStateVerified
	if err := v.mach.CryptoStore.PutDevice(ctx, d.UserID, d); err != nil {
		return fmt.Errorf("matrix: trust device %s of %s: %w", them.Device, them.User, err)
	}
	if !master || v.mach.CrossSigningKeys == nil {
		return nil
	}
	if err := v.mach.SignUser(ctx, d.UserID, id.Ed25519(them.Master)); err != nil {
		return fmt.Errorf("matrix: sign the keys of %s: %w", them.User, err)
	}
	return nil
}
