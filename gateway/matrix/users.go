package matrix

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"maunium.net/go/mautrix"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// EnsureUser registers a ghost (or finds it registered) and sets its display name where it is another. Idempotent. In
// account mode there is only the bot, and nothing is done for others.
func (c *Client) EnsureUser(ctx context.Context, user ids.UserID, displayName string) error {
	if user == "" {
		user = c.bot
	}
	if c.cfg.Mode == Account {
		if user != c.bot {
			return nil
		}
		return c.setDisplayName(ctx, user, displayName)
	}
	if !c.own(user) {
		return lane.Outcome{Verdict: lane.Dead, Code: "namespace", Reason: fmt.Sprintf("%q is not a user of ours", user)}
	}
	local, _ := c.localpart(string(user), '@')
	if err := c.register(ctx, local); err != nil {
		return fmt.Errorf("register %s: %w", user, err)
	}
	return c.setDisplayName(ctx, user, displayName)
}

// register makes a user of the appservice. One that exists is fine.
func (c *Client) register(ctx context.Context, local string) error {
	err := c.do(ctx, request{
		endpoint: epRegister, method: http.MethodPost, path: mautrix.ClientURLPath{"v3", "register"},
		body: mautrix.ReqRegister[any]{Type: mautrix.AuthTypeAppservice, Username: local, InhibitLogin: true},
	})
	if lane.OutcomeOf(err).Code == "M_USER_IN_USE" {
		return nil
	}
	return err
}

func (c *Client) setDisplayName(ctx context.Context, user ids.UserID, name string) error {
	name = clean(name, 255)
	if name == "" {
		return nil
	}
	var profile struct {
		Name string `json:"displayname"`
	}
	path := mautrix.ClientURLPath{"v3", "profile", user, "displayname"}
	err := c.do(ctx, request{endpoint: epProfile, method: http.MethodGet, path: path, as: user, into: &profile})
	if err != nil && lane.OutcomeOf(err).Verdict != lane.Dead { // Dead: it has no profile yet
		return fmt.Errorf("read the name of %s: %w", user, err)
	}
	if err == nil && profile.Name == name {
		return nil
	}
	err = c.do(ctx, request{endpoint: epProfile, method: http.MethodPut, path: path, as: user, body: map[string]string{"displayname": name}})
	if err != nil {
		return fmt.Errorf("name %s: %w", user, err)
	}
	return nil
}

// deviceID is the device of each of our users. Synapse remembers the transaction ids of an appservice over a restart only
// for requests that name a device.
const deviceID = "GATEPOST"

// deviceSet knows which users have their device. Safe for concurrent use.
type deviceSet struct {
	mu  sync.Mutex
	has map[ids.UserID]bool
}

func (s *deviceSet) known(user ids.UserID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.has[user]
}

func (s *deviceSet) add(user ids.UserID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.has == nil {
		s.has = map[ids.UserID]bool{}
	}
	s.has[user] = true
}

// canUseDevices tries with the bot whether an appservice may make a device and speak as it (MSC4190, MSC3202).
func (c *Client) canUseDevices(ctx context.Context) (bool, error) {
	err := c.makeDevice(ctx, c.bot)
	switch lane.OutcomeOf(err).Verdict {
	case lane.Done:
	case lane.Dead:
		return false, nil
	default:
		return false, err
	}
	var me mautrix.RespWhoami
	err = c.do(ctx, request{endpoint: epWhoami, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "account", "whoami"}, as: c.bot, device: deviceID, into: &me})
	switch lane.OutcomeOf(err).Verdict {
	case lane.Done:
		return me.DeviceID == deviceID, nil
	case lane.Dead:
		return false, nil
	default:
		return false, err
	}
}

func (c *Client) makeDevice(ctx context.Context, user ids.UserID) error {
	err := c.do(ctx, request{
		endpoint: epDevice, method: http.MethodPut, path: mautrix.ClientURLPath{"v3", "devices", deviceID}, as: user,
		body: map[string]string{"display_name": "gatepost"},
	})
	if err == nil {
		c.devices.add(user)
	}
	return err
}

// device is what a send of user names: its device, made when this process first needs it, or "" where there are none.
func (c *Client) device(ctx context.Context, user ids.UserID) (string, error) {
	a := c.abilities.Load()
	if a == nil || !a.Devices {
		return "", nil
	}
	if !c.devices.known(user) {
		if err := c.makeDevice(ctx, user); err != nil {
			return "", err
		}
	}
	return deviceID, nil
}

func (s *deviceSet) forget(user ids.UserID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.has, user)
}
