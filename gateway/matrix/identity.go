//go:build goolm

package matrix

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/signatures"
	"maunium.net/go/mautrix/crypto/ssss"
	"maunium.net/go/mautrix/event"
	"maunium.net/go/mautrix/id"
)

// identity is the bot's cross-signing: three keys of which the seeds are ours to keep, and by which people's clients know that
// the bot's device is the bot's (Client-Server API, "Cross-signing"). Its owner is the goroutine that owns the machine.
//
// The order is made for a death on any line: seeds are durable before their public halves are published, because a homeserver may
// never take others in their place (Dendrite asks for a password, which an application service has not).
type identity struct {
	mach     *crypto.OlmMachine
	file     Seeds
	password string // account mode: for a homeserver that asks for it; "" none
	log      *slog.Logger
}

// ensure sees to it that the bot's device is signed. It is called once the device's keys are uploaded, and may be called again at
// any time. ErrUnsigned says that only a person can help; every other error passes.
func (x *identity) ensure(ctx context.Context) error {
	kept, err := x.load()
	if err != nil {
		return err
	}
	published, err := x.published(ctx)
	if err != nil {
		return err
	}
	switch {
	case kept == nil && published.master != "":
		return fmt.Errorf("%w: the bot has cross-signing keys, and their seeds are not here", ErrUnsigned)
	case kept == nil:
		if kept, err = x.generate(); err != nil {
			return err
		}
	}
	keys, err := kept.Keys.Decode()
	if err != nil {
		return fmt.Errorf("matrix: cross-signing seeds: %w", err)
	}
	switch published.master {
	case keys.MasterKey.PublicKey():
	case "":
		if err := x.publish(ctx, &keys); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: the homeserver has other cross-signing keys for the bot than ours", ErrUnsigned)
	}
	if have := x.mach.CrossSigningKeys; have == nil || have.MasterKey.PublicKey() != keys.MasterKey.PublicKey() {
		if err := x.mach.ImportCrossSigningKeys(kept.Keys); err != nil {
			return fmt.Errorf("matrix: cross-signing seeds: %w", err)
		}
	}
	if kept.Recovery != "" && !kept.Escrowed {
		if err := x.escrow(ctx, kept); err != nil {
			return err
		}
	}
	if published.signedBy(keys.SelfSigningKey.PublicKey()) {
		return nil
	}
	if err := x.mach.SignOwnDevice(ctx, x.mach.OwnIdentity()); err != nil {
		return fmt.Errorf("matrix: sign the bot's device: %w", err)
	}
	x.log.Info("the bot's device is signed")
	return nil
}

// setup gives a recovery key, which is not shown again: the one made at the first start, or else a new one in its place. Where the
// homeserver has keys whose seeds are lost, new ones replace them if it lets us.
func (x *identity) setup(ctx context.Context) (recovery string, err error) {
	if err := x.ensure(ctx); errors.Is(err, ErrUnsigned) {
		restore, err := x.keepFile()
		if err != nil {
			return "", err
		}
		kept, err := x.generate()
		if err != nil {
			return "", err
		}
		keys, err := kept.Keys.Decode()
		if err != nil {
			return "", err
		}
		if err := x.publish(ctx, &keys); err != nil {
			return "", errors.Join(err, restore())
		}
		if err := x.ensure(ctx); err != nil {
			return "", err
		}
	} else if err != nil {
		return "", err
	}
	kept, err := x.load()
	if err != nil {
		return "", err
	}
	if kept.Recovery == "" {
		if err := kept.newRecovery(); err != nil {
			return "", err
		}
		if err := x.save(kept); err != nil {
			return "", err
		}
		if err := x.escrow(ctx, kept); err != nil {
			return "", err
		}
	}
	return kept.Recovery, nil
}

// keepFile gives what brings the file back as it is now, even if it can't be read: perhaps it could be with another key.
func (x *identity) keepFile() (restore func() error, err error) {
	file := x.file
	if s, ok := file.(sealedSeeds); ok {
		file = s.file
	}
	old, err := file.Load()
	return func() error { return file.Save(old) }, err
}

// shown forgets the recovery key, which somebody has now.
func (x *identity) shown() error {
	kept, err := x.load()
	if err != nil || kept == nil {
		return err
	}
	kept.Recovery = ""
	return x.save(kept)
}

// recover takes the seeds out of what the homeserver keeps for us, and signs the device with them.
func (x *identity) recover(ctx context.Context, recovery string) error {
	keyID, data, err := x.mach.SSSS.GetDefaultKeyData(ctx)
	if err != nil {
		return fmt.Errorf("matrix: the homeserver keeps no seeds for the bot: %w", err)
	}
	key, err := data.VerifyRecoveryKey(keyID, recovery)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrRecoveryKey, err)
	}
	var found crypto.CrossSigningSeeds
	for _, part := range []struct {
		typ  event.Type
		into *[]byte
	}{
		{event.AccountDataCrossSigningMaster, (*[]byte)(&found.MasterKey)},
		{event.AccountDataCrossSigningSelf, (*[]byte)(&found.SelfSigningKey)},
		{event.AccountDataCrossSigningUser, (*[]byte)(&found.UserSigningKey)},
	} {
		if *part.into, err = x.mach.SSSS.GetDecryptedAccountData(ctx, part.typ, key); err != nil {
			return fmt.Errorf("matrix: read %s: %w", part.typ.Type, err)
		}
	}
	keys, err := found.Decode()
	if err != nil {
		return fmt.Errorf("%w: what it opens is no seed: %w", ErrRecoveryKey, err)
	}
	published, err := x.published(ctx)
	if err != nil {
		return err
	}
	if published.master != keys.MasterKey.PublicKey() {
		return fmt.Errorf("%w: it opens other keys than the bot has now", ErrRecoveryKey)
	}
	if err := x.save(&seeds{Version: seedsVersion, User: x.mach.Client.UserID, Keys: found, Escrowed: true}); err != nil {
		return err
	}
	return x.ensure(ctx)
}

// generate makes seeds and a recovery key, and keeps them.
func (x *identity) generate() (*seeds, error) {
	keys, err := x.mach.GenerateCrossSigningKeys()
	if err != nil {
		return nil, err
	}
	kept := &seeds{Version: seedsVersion, User: x.mach.Client.UserID, Keys: keys.Seeds()}
	if err := kept.newRecovery(); err != nil {
		return nil, err
	}
	return kept, x.save(kept)
}

// publish uploads the public halves.
func (x *identity) publish(ctx context.Context, keys *crypto.CrossSigningKeysCache) error {
	var auth mautrix.UIACallback
	if x.password != "" {
		auth = func(asked *mautrix.RespUserInteractive) any {
			return &mautrix.ReqUIAuthLogin{
				BaseAuthData: mautrix.BaseAuthData{Type: mautrix.AuthTypePassword, Session: asked.Session},
				User:         x.mach.Client.UserID.String(), Password: x.password,
			}
		}
	}
	err := x.mach.PublishCrossSigningKeys(ctx, keys, auth)
	var refused mautrix.HTTPError
	if errors.As(err, &refused) && refused.IsStatus(401) {
		return fmt.Errorf("%w: the homeserver does not let us replace the bot's cross-signing keys", ErrUnsigned)
	}
	if err != nil {
		return fmt.Errorf("matrix: publish cross-signing keys: %w", err)
	}
	x.log.Info("the bot has cross-signing keys; `gatepost verify --setup` shows the recovery key once")
	return nil
}

// escrow lets the homeserver keep the seeds, encrypted with the recovery key (Client-Server API, "Secret storage").
func (x *identity) escrow(ctx context.Context, kept *seeds) error {
	raw, err := decodeRecovery(kept.Recovery)
	if err != nil {
		return fmt.Errorf("matrix: recovery key: %w", err)
	}
	key, err := ssss.WrapKey(raw, nil)
	if err != nil {
		return fmt.Errorf("matrix: recovery key: %w", err)
	}
	if err := x.mach.SSSS.SetKeyData(ctx, key.ID, key.Metadata); err != nil {
		return fmt.Errorf("matrix: keep the seeds with the homeserver: %w", err)
	}
	for typ, seed := range map[event.Type][]byte{
		event.AccountDataCrossSigningMaster: kept.Keys.MasterKey,
		event.AccountDataCrossSigningSelf:   kept.Keys.SelfSigningKey,
		event.AccountDataCrossSigningUser:   kept.Keys.UserSigningKey,
	} {
		if err := x.mach.SSSS.SetEncryptedAccountData(ctx, typ, seed, key); err != nil {
			return fmt.Errorf("matrix: keep the seeds with the homeserver: %w", err)
		}
	}
	if err := x.mach.SSSS.SetDefaultKeyID(ctx, key.ID); err != nil {
		return fmt.Errorf("matrix: keep the seeds with the homeserver: %w", err)
	}
	kept.Escrowed = true
	return x.save(kept)
}

// ownKeys is what the homeserver says of the bot.
type ownKeys struct {
	master id.Ed25519 // "": it has none
	device mautrix.DeviceKeys
	user   id.UserID
}

func (x *identity) published(ctx context.Context) (ownKeys, error) {
	user := x.mach.Client.UserID
	answer, err := x.mach.Client.QueryKeys(ctx, &mautrix.ReqQueryKeys{DeviceKeys: mautrix.DeviceKeysRequest{user: {}}})
	if err != nil {
		return ownKeys{}, fmt.Errorf("matrix: ask for the bot's keys: %w", err)
	}
	own := ownKeys{user: user, device: answer.DeviceKeys[user][x.mach.Client.DeviceID]}
	if master, ok := answer.MasterKeys[user]; ok {
		own.master = master.FirstKey()
	}
	return own, nil
}

// signedBy says whether the device carries a good signature of a key.
func (o ownKeys) signedBy(key id.Ed25519) bool {
	ok, err := signatures.VerifySignatureJSON(o.device, o.user, key.String(), key)
	return err == nil && ok
}
