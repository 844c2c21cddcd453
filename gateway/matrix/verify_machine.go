//go:build goolm

package matrix

import (
	"context"
	"errors"
	"fmt"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/sas"
	"github.com/gatepost/gatepost/internal/ids"
)

func (k *keeper) us(context.Context) (sas.Side, error) {
	if k.mach == nil {
		return sas.Side{}, errNoDevice
	}
	own := k.mach.OwnIdentity()
	side := sas.Side{User: string(own.UserID), Device: string(own.DeviceID), Key: string(own.SigningKey)}
	if k.mach.CrossSigningKeys != nil {
		side.Master = string(k.mach.CrossSigningKeys.MasterKey.PublicKey())
	}
	return side, nil
}

func (k *keeper) them(ctx context.Context, user ids.UserID, device string) (sas.Side, error) {
	side := sas.Side{User: string(user), Device: device}
	found, err := k.e.fetch(ctx, k.mach, []id.UserID{id.UserID(user)})
	if err != nil {
		return side, fmt.Errorf("matrix: ask for the keys of %s: %w", user, err)
	}
	if d := found[id.UserID(user)][id.DeviceID(device)]; d != nil {
		side.Key = string(d.SigningKey)
	}
	keys, err := k.mach.CryptoStore.GetCrossSigningKeys(ctx, id.UserID(user))
	if err != nil {
		return side, fmt.Errorf("matrix: keys of %s: %w", user, err)
	}
	side.Master = string(keys[id.XSUsageMaster].Key)
	return side, nil
}

func (k *keeper) say(ctx context.Context, room ids.RoomID, to sas.Side, typ string, content map[string]any) error {
	if room != "" {
		return k.inRoom(ctx, room, typ, content)
	}
	_, err := k.mach.Client.SendToDevice(ctx, event.Type{Type: typ, Class: event.ToDeviceEventType}, &mautrix.ReqSendToDevice{
		Messages: map[id.UserID]map[id.DeviceID]*event.Content{id.UserID(to.User): {id.DeviceID(to.Device): {Raw: content}}},
	})
	if err != nil {
		return fmt.Errorf("matrix: send %s: %w", typ, err)
	}
	return nil
}

// trust marks the device as one whose key was compared. With master it signs the user's master key, so that it counts for all
// devices that the user signs; a bot that has no keys to sign with can do only the first.
func (k *keeper) trust(ctx context.Context, them sas.Side, master bool) error {
	user := id.UserID(them.User)
	err := k.e.alone(ctx, []id.UserID{user}, func() error {
		d, err := k.mach.CryptoStore.GetDevice(ctx, user, id.DeviceID(them.Device))
		switch {
		case err != nil:
			return err
		case d == nil || string(d.SigningKey) != them.Key:
			return errOtherDevice
		}
		d.Trust = id.TrustStateVerified
		return k.mach.CryptoStore.PutDevice(ctx, user, d)
	})
	if err != nil {
		return fmt.Errorf("matrix: trust device %s of %s: %w", them.Device, them.User, err)
	}
	if k.mach.OnDevicesChanged(ctx, user); !master || k.mach.CrossSigningKeys == nil {
		return nil
	}
	if err := k.mach.SignUser(ctx, user, id.Ed25519(them.Master)); err != nil {
		return fmt.Errorf("matrix: sign the keys of %s: %w", them.User, err)
	}
	return nil
}

// accept takes the keys of a user's identity as they are now for the first ones.
func (k *keeper) accept(ctx context.Context, user ids.UserID) error {
	if k.mach == nil {
		return errNoDevice
	}
	if !validUserID(string(user)) {
		return fmt.Errorf("%w: %q is no user's address", ErrNoIdentity, user)
	}
	them, err := k.them(ctx, user, "")
	if err != nil {
		return err
	}
	if them.Master == "" {
		return fmt.Errorf("%w: %s", ErrNoIdentity, user)
	}
	if err := k.mach.CryptoStore.ResetMasterKeyTOFU(ctx, id.UserID(user), id.Ed25519(them.Master)); err != nil {
		return fmt.Errorf("matrix: accept the keys of %s: %w", user, err)
	}
	k.mach.OnDevicesChanged(ctx, id.UserID(user))
	return nil
}

var errOtherDevice = errors.New("it is not the one that was compared")
