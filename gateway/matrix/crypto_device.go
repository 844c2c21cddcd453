//go:build goolm

package matrix

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
)

// cryptoSecret is the name under which Secrets keeps which device the bot has, so that it can be logged out when the crypto
// file is gone.
const cryptoSecret = "matrix_crypto_device"

// botDevice is the bot's device for encryption.
type botDevice struct {
	ID    id.DeviceID `json:"device"`
	Token string      `json:"token,omitempty"` // where requests can't name a device
	User  id.UserID   `json:"user"`
}

// prepare sees to it that the bot has its device, with keys that are here. A device whose keys are lost (another file, a backup
// that was brought back, a row that can't be read), that are an old copy, or that somebody logged out, is replaced by a new one: no ratchet is ever
// brought back to life. The order is made for a death on any line: a new device is durable before it is made.
func (e *engine) prepare(ctx context.Context, a Abilities) error {
	if e.mach.Load() != nil {
		return nil
	}
	var d botDevice
	e.store.mu.Lock()
	known, err := e.store.get(bucketSelf, e.store.key(rowDevice), &d)
	e.store.mu.Unlock()
	if err != nil {
		return err
	}
	before, err := e.formerDevice()
	if err != nil {
		return err
	}
	if known {
		if known, err = e.usable(ctx, a, d); err != nil {
			return err
		}
	}
	if known {
		if known, err = e.renew(ctx, d.ID); err != nil {
			return err
		}
	}
	if !known {
		if d, err = e.replace(ctx, a, d, before); err != nil {
			return err
		}
		if _, err = e.renew(ctx, d.ID); err != nil {
			return err
		}
	}
	if d.Token != "" {
		e.token.Store(&d.Token)
	}
	if err := e.start(ctx, d.ID); err != nil {
		return err
	}
	if before.ID == d.ID {
		return nil
	}
	raw, err := encode(d)
	if err != nil {
		return err
	}
	if before.ID != "" {
		e.logOut(ctx, a, before)
		e.log.Warn("the bot's device for encryption was replaced, since its keys are lost or old")
		e.cfg.Replaced()
	}
	return e.c.cfg.Secrets.Put(cryptoSecret, string(raw))
}

func (e *engine) formerDevice() (d botDevice, err error) {
	raw, err := e.c.cfg.Secrets.Get(cryptoSecret)
	if err != nil {
		return d, fmt.Errorf("read which device the bot had: %w", err)
	}
	if raw != "" && json.Unmarshal([]byte(raw), &d) != nil {
		return botDevice{}, nil
	}
	return d, nil
}

// usable says whether the device still is ours: its account can be read, and the homeserver knows it.
func (e *engine) usable(ctx context.Context, a Abilities, d botDevice) (bool, error) {
	account, err := e.store.GetAccount(ctx)
	if err != nil {
		return false, err
	}
	if account == nil || d.User != id.UserID(e.c.bot) {
		return false, nil
	}
	r := request{endpoint: epWhoami, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "account", "whoami"}, token: d.Token}
	switch {
	case e.c.cfg.Mode == Account: // the log-in's device may be another by now
	case a.Devices:
		r.path, r.as = mautrix.ClientURLPath{"v3", "devices", d.ID}, e.c.bot
	}
	var me struct {
		Device id.DeviceID `json:"device_id"`
	}
	r.into = &me
	err = e.c.do(ctx, r)
	switch o := lane.OutcomeOf(err); {
	case err == nil:
		return me.Device == d.ID, nil
	case o.Verdict == lane.Stop && d.Token != "" || o.Verdict == lane.Dead:
		return false, nil
	default:
		return false, fmt.Errorf("ask for the bot's device: %w", err)
	}
}

// replace makes a new device, and forgets all keys of the one before.
func (e *engine) replace(ctx context.Context, a Abilities, lost, before botDevice) (d botDevice, err error) {
	if err := e.store.clear(ctx); err != nil {
		return d, err
	}
	if err := e.c.book.forgetShared(); err != nil {
		return d, err
	}
	d = botDevice{ID: newDeviceID(), User: id.UserID(e.c.bot)}
	if e.c.cfg.Mode == Account {
		if d.ID, err = e.c.cryptoLogIn(ctx, lost.ID, before.ID); err != nil {
			return d, err
		}
	}
	if err := e.keepDevice(ctx, d); err != nil {
		return d, err
	}
	switch {
	case e.c.cfg.Mode == Account:
		return d, nil
	case a.Devices:
		err = e.c.do(ctx, request{
			endpoint: epDevice, method: http.MethodPut, path: mautrix.ClientURLPath{"v3", "devices", d.ID}, as: e.c.bot,
			body: map[string]string{"display_name": "gatepost"},
		})
		if err != nil {
			return d, fmt.Errorf("make the bot's device: %w", err)
		}
		return d, nil
	}
	var res mautrix.RespLogin
	err = e.c.do(ctx, request{
		endpoint: epLogin, method: http.MethodPost, path: mautrix.ClientURLPath{"v3", "login"}, into: &res,
		body: mautrix.ReqLogin{
			Type:       mautrix.AuthTypeAppservice,
			Identifier: mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: e.c.cfg.Bot},
			DeviceID:   d.ID, InitialDeviceDisplayName: "gatepost",
		},
	})
	if err != nil {
		return d, fmt.Errorf("make the bot's device: %w", err)
	}
	if res.AccessToken == "" || res.DeviceID == "" {
		return d, lane.Outcome{Verdict: lane.Retry, Code: "HTTP 200", Reason: "the homeserver gave no token for the bot's device"}
	}
	d.ID, d.Token = res.DeviceID, res.AccessToken
	return d, e.keepDevice(ctx, d)
}

// keepDevice makes durable which device the bot has. Without an account its keys are not there yet, so a process that
// dies now replaces it.
func (e *engine) keepDevice(ctx context.Context, d botDevice) error {
	e.store.mu.Lock()
	err := e.store.put(bucketSelf, e.store.key(rowDevice), d)
	e.store.mu.Unlock()
	if err != nil {
		return err
	}
	return e.store.Flush(ctx)
}

// logOut ends a device of which the keys are lost. That it can't be ended is told and no more: nobody encrypts for a device
// that the homeserver does not list, and what is encrypted for this one nobody can read.
func (e *engine) logOut(ctx context.Context, a Abilities, d botDevice) {
	r := request{endpoint: epDevice, method: http.MethodDelete, path: mautrix.ClientURLPath{"v3", "devices", d.ID}, as: e.c.bot}
	switch {
	case e.c.cfg.Mode == Account: // cryptoLogIn has done it
		return
	case d.Token != "":
		r = request{endpoint: epLogin, method: http.MethodPost, path: mautrix.ClientURLPath{"v3", "logout"}, token: d.Token}
	}
	if err := e.c.do(ctx, r); err != nil && lane.OutcomeOf(err).Verdict != lane.Stop {
		e.log.Warn("the bot's former device could not be logged out", "device", string(d.ID), "error", err.Error())
	}
}

const deviceAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

// newDeviceID is a name that no device had before: clients refuse a device whose keys have changed.
func newDeviceID() id.DeviceID {
	b := make([]byte, 10)
	_, _ = rand.Read(b) // never fails
	for i := range b {
		b[i] = deviceAlphabet[b[i]%32]
	}
	return id.DeviceID(deviceID + "_" + string(b))
}

// clear forgets everything but which rooms are encrypted, what may be on its way, and which keys of people were the first that
// we saw: else a homeserver that takes our device away could give us others in their place.
func (s *cryptoStore) clear(ctx context.Context) error {
	for _, bucket := range CryptoBuckets() {
		if bucket == bucketRooms || bucket == bucketSent || bucket == bucketKeys {
			continue
		}
		err := s.each(ctx, bucket, nil, func(key, _ []byte) error {
			if bucket == bucketSelf && string(key) == rowCheck {
				return nil
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.set(bucket, key, nil)
			return nil
		})
		if err != nil {
			return err
		}
	}
	s.mu.Lock()
	s.account = nil
	clear(s.olm)
	clear(s.outbound)
	clear(s.outdated)
	clear(s.tracked)
	s.lists = 0
	s.mu.Unlock()
	return s.Flush(ctx)
}

// cryptoLogIn gives the device of the account's log-in, which must be none whose keys are lost: such a log-in is ended and
// another one made.
func (c *Client) cryptoLogIn(ctx context.Context, lost ...id.DeviceID) (id.DeviceID, error) {
	me, err := c.whoami(ctx, "")
	if err != nil {
		return "", err
	}
	if me.DeviceID == "" {
		return "", fmt.Errorf("%w: the access token has no device", ErrRefused)
	}
	if !slices.Contains(lost, me.DeviceID) {
		return me.DeviceID, nil
	}
	if c.cfg.Token != "" {
		return "", fmt.Errorf("%w: the keys of the access token's device %s are lost: log in anew and put the new token into the configuration", ErrRefused, me.DeviceID)
	}
	if err := c.do(ctx, request{endpoint: epLogin, method: http.MethodPost, path: mautrix.ClientURLPath{"v3", "logout"}}); err != nil {
		return "", fmt.Errorf("end the former log-in: %w", err)
	}
	if err := c.logIn(ctx, ""); err != nil {
		return "", err
	}
	if me, err = c.whoami(ctx, ""); err != nil {
		return "", err
	}
	return me.DeviceID, nil
}
