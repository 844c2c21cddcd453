package matrix

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// Abilities is what a homeserver can do, as Probe found it.
type Abilities struct {
	RoomVersion   string // of rooms that are made; "" when it does not say
	MaxUpload     int64  // bytes of media; 0 when it does not say
	Ping          bool   // appservice ping; where it is missing, redactions are not pushed either
	Devices       bool   // appservice requests can name a device, which makes transaction ids outlive a restart
	AsyncUpload   bool   // a media id can be had before the media
	DelayedEvents bool   // MSC4140
}

// Abilities is what the last successful Probe found; ok is false before the first.
func (c *Client) Abilities() (a Abilities, ok bool) {
	if p := c.abilities.Load(); p != nil {
		return *p, true
	}
	return Abilities{}, false
}

// needsSync says whether events must be read by /sync.
func (c *Client) needsSync() bool {
	a := c.abilities.Load()
	return c.cfg.Mode == Account || c.engine != nil || a != nil && !a.Ping
}

// Probe makes sure that the homeserver is the right one and knows us, registers the bot (appservice) or logs it in
// (account), and notes what the homeserver can do. Where it can, it makes the homeserver deliver at once what waits for us.
// Run calls it; others may. Its error says what to do, and carries a lane.Outcome.
func (c *Client) Probe(ctx context.Context) error {
	err := c.probe(ctx)
	c.health.set(partProbe, err)
	if err == nil {
		c.health.set(partToken, nil)
	}
	return err
}

func (c *Client) probe(ctx context.Context) error {
	var versions mautrix.RespVersions
	if err := c.do(ctx, request{endpoint: epVersions, method: http.MethodGet, path: mautrix.ClientURLPath{"versions"}, open: true, into: &versions}); err != nil {
		return fmt.Errorf("ask %s for its versions: %w", c.base.Host, err)
	}
	if err := c.identify(ctx); err != nil {
		return err
	}
	a := Abilities{
		AsyncUpload:   versions.Supports(mautrix.FeatureAsyncUploads),
		DelayedEvents: versions.UnstableFeatures["org.matrix.msc4140"],
	}
	var caps mautrix.RespCapabilities
	err := c.do(ctx, request{endpoint: epCapabilities, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "capabilities"}, as: c.bot, into: &caps})
	if err != nil && lane.OutcomeOf(err).Verdict != lane.Dead { // Dead: it has none
		return fmt.Errorf("ask for capabilities: %w", err)
	}
	if caps.RoomVersions != nil {
		a.RoomVersion = clean(string(caps.RoomVersions.Default), 32)
	}
	if a.MaxUpload, err = c.mediaLimit(ctx); err != nil {
		return fmt.Errorf("ask for the media limit: %w", err)
	}
	if c.cfg.Mode == Appservice {
		if a.Devices, err = c.canUseDevices(ctx); err != nil {
			return fmt.Errorf("make a device for %s: %w", c.bot, err)
		}
		a.Ping, err = c.ping(ctx)
		if err != nil && !errors.Is(err, ErrUnreachable) {
			return fmt.Errorf("ping: %w", err)
		}
	}
	c.abilities.Store(&a)
	if c.engine != nil && (err == nil || errors.Is(err, ErrUnreachable)) {
		if perr := c.engine.prepare(ctx, a); perr != nil {
			return errors.Join(err, fmt.Errorf("encryption: %w", perr))
		}
	}
	return err
}

// identify makes sure of who we are.
func (c *Client) identify(ctx context.Context) error {
	if c.cfg.Mode == Account {
		return c.identifyAccount(ctx)
	}
	me, err := c.whoami(ctx, "")
	if err != nil {
		return refusal(err, "as_token: is the registration loaded, and the same as here?")
	}
	if err := c.sameServer(me.UserID); err != nil {
		return err
	}
	if err := c.register(ctx, c.cfg.Bot); err != nil {
		return refusal(err, "registering the bot "+string(c.bot)+": is it in namespaces.users of the registration?")
	}
	me, err = c.whoami(ctx, c.bot)
	if err != nil {
		return refusal(err, "speaking as "+string(c.bot)+": is it in namespaces.users of the registration?")
	}
	if string(me.UserID) != string(c.bot) {
		return fmt.Errorf("%w: it takes us for %q, not for %q", ErrRefused, clean(string(me.UserID), maxUserID), c.bot)
	}
	return nil
}

func (c *Client) whoami(ctx context.Context, as ids.UserID) (me mautrix.RespWhoami, err error) {
	err = c.do(ctx, request{endpoint: epWhoami, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "account", "whoami"}, as: as, into: &me})
	return me, err
}

// sameServer compares the domain of a user id that the homeserver gave us.
func (c *Client) sameServer(user id.UserID) error {
	_, domain, _ := strings.Cut(string(user), ":")
	if domain != c.cfg.ServerName {
		return fmt.Errorf("%w: the homeserver is %q, the configuration says %q", ErrServerName, clean(domain, maxUserID), c.cfg.ServerName)
	}
	return nil
}

// refusal makes an ErrRefused of a refused request; what else went wrong stays what it is.
func refusal(err error, what string) error {
	switch lane.OutcomeOf(err).Verdict {
	case lane.Stop, lane.Dead:
		return fmt.Errorf("%w: %s (%w)", ErrRefused, what, err)
	default:
		return err
	}
}

// mediaLimit is 0 when the homeserver does not say.
func (c *Client) mediaLimit(ctx context.Context) (int64, error) {
	var media struct {
		Size int64 `json:"m.upload.size"`
	}
	var err error
	for _, path := range []mautrix.PrefixableURLPath{mautrix.ClientURLPath{"v1", "media", "config"}, mautrix.MediaURLPath{"v3", "config"}} {
		err = c.do(ctx, request{endpoint: epMediaConfig, method: http.MethodGet, path: path, as: c.bot, into: &media})
		if err == nil {
			return max(media.Size, 0), nil
		}
		if lane.OutcomeOf(err).Verdict != lane.Dead {
			return 0, err
		}
	}
	return 0, nil
}

// ping asks the homeserver to reach our listener (Application Service API, ping), which also ends its back-off after an
// outage of ours. known is false where the homeserver has no ping, or nothing to reach. An error that is ErrUnreachable
// means that everything but the way to us works.
func (c *Client) ping(ctx context.Context) (known bool, err error) {
	if c.cfg.ID == "" {
		return false, nil
	}
	err = c.do(ctx, request{
		endpoint: epPing, method: http.MethodPost, path: mautrix.ClientURLPath{"v1", "appservice", c.cfg.ID, "ping"},
		body: map[string]string{"transaction_id": ids.NewULID(c.cfg.Now())},
	})
	o := lane.OutcomeOf(err)
	switch {
	case err == nil:
		return true, nil
	case o.Code == "M_BAD_STATUS" || o.Code == "M_CONNECTION_FAILED" || o.Code == "M_CONNECTION_TIMEOUT":
		if c.listener == nil { // a tool, not the gateway: nobody is meant to answer
			return true, nil
		}
		return true, fmt.Errorf("%w: is url in the registration our address, and hs_token the same? (%w)", ErrUnreachable, err)
	case o.Code == "M_URL_NOT_SET": // nothing is pushed, the bot reads by /sync
		return false, nil
	case o.Code == "M_FORBIDDEN":
		return false, fmt.Errorf("%w: %q is not the id of our registration (%w)", ErrRefused, c.cfg.ID, err)
	case o.Verdict == lane.Dead || o.Code == "HTTP 404" || o.Code == "HTTP 405":
		return false, nil
	default:
		return false, err
	}
}
