package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
)

// sessionSecret is the name under which an account's session is kept in Secrets.
const sessionSecret = "matrix_session"

// accountSession is what a log-in leaves behind.
type accountSession struct {
	User   string `json:"user"`
	Device string `json:"device"`
	Token  string `json:"token"`
}

// accessToken is what requests carry.
func (c *Client) accessToken() string {
	if c.cfg.Mode == Appservice {
		return c.cfg.ASToken
	}
	if t := c.token.Load(); t != nil {
		return *t
	}
	return ""
}

// identifyAccount uses the token of the configuration, or the kept one, or logs in. A kept token that the homeserver has
// forgotten is replaced by a new log-in on the same device.
func (c *Client) identifyAccount(ctx context.Context) error {
	var kept accountSession
	if c.cfg.Token == "" {
		raw, err := c.cfg.Secrets.Get(sessionSecret)
		if err != nil {
			return fmt.Errorf("read the kept session: %w", err)
		}
		if raw != "" && json.Unmarshal([]byte(raw), &kept) == nil && kept.User == string(c.bot) && kept.Token != "" {
			c.token.Store(&kept.Token)
		} else if err := c.logIn(ctx, ""); err != nil {
			return err
		}
	}
	me, err := c.whoami(ctx, "")
	if err != nil && lane.OutcomeOf(err).Verdict == lane.Stop && c.cfg.Token == "" {
		if err := c.logIn(ctx, kept.Device); err != nil {
			return err
		}
		me, err = c.whoami(ctx, "")
	}
	if err != nil {
		return refusal(err, "access token: was the session ended?")
	}
	if err := c.sameServer(me.UserID); err != nil {
		return err
	}
	if string(me.UserID) != string(c.bot) {
		return fmt.Errorf("%w: the token is that of %q, the configuration says %q", ErrRefused, clean(string(me.UserID), maxUserID), c.bot)
	}
	return nil
}

// logIn spends the password and keeps the token before it is used.
func (c *Client) logIn(ctx context.Context, device string) error {
	var res mautrix.RespLogin
	err := c.do(ctx, request{
		endpoint: epLogin, method: http.MethodPost, path: mautrix.ClientURLPath{"v3", "login"}, open: true, into: &res,
		body: mautrix.ReqLogin{
			Type:                     mautrix.AuthTypePassword,
			Identifier:               mautrix.UserIdentifier{Type: mautrix.IdentifierTypeUser, User: string(c.bot)},
			Password:                 c.cfg.Password,
			DeviceID:                 id.DeviceID(device),
			InitialDeviceDisplayName: "gatepost",
		},
	})
	if err != nil {
		return refusal(err, "logging in as "+string(c.bot))
	}
	if err := c.sameServer(res.UserID); err != nil {
		return err
	}
	if res.AccessToken == "" {
		return fmt.Errorf("%w: logging in gave no token", ErrRefused)
	}
	raw, err := encode(accountSession{User: string(c.bot), Device: string(res.DeviceID), Token: res.AccessToken})
	if err != nil {
		return err
	}
	if err := c.cfg.Secrets.Put(sessionSecret, string(raw)); err != nil {
		return fmt.Errorf("keep the session: %w", err)
	}
	c.token.Store(&res.AccessToken)
	return nil
}
