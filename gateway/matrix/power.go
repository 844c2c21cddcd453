package matrix

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"maunium.net/go/mautrix"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// SetPower brings the levels of people from before to now and leaves everything else in m.room.power_levels as it is:
// what somebody changed by hand, and the levels of events. Nothing is sent when nothing would change.
func (c *Client) SetPower(ctx context.Context, in ids.RoomID, before, now map[ids.UserID]int) error {
	const kind = "m.room.power_levels"
	var levels object
	err := c.do(ctx, request{endpoint: epState, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "rooms", in, "state", kind, ""}, as: c.bot, into: &levels})
	if err != nil {
		return fmt.Errorf("read %s: %w", kind, err)
	}
	content, changed, err := withPower(levels, before, now)
	if err != nil {
		return lane.Outcome{Verdict: lane.Dead, Code: "M_BAD_STATE", Reason: "the room's " + kind + " can't be read: " + err.Error()}
	}
	if !changed {
		return nil
	}
	return c.SetState(ctx, in, kind, "", content)
}

// withPower is the content of m.room.power_levels after the change.
func withPower(levels object, before, now map[ids.UserID]int) (content object, changed bool, err error) {
	users := map[ids.UserID]json.RawMessage{}
	if raw, ok := levels["users"]; ok {
		if err := json.Unmarshal(raw, &users); err != nil {
			return nil, false, errors.New("users is no object")
		}
	}
	set := func(u ids.UserID, l int) {
		old, has := users[u]
		was, ok := level(old)
		switch {
		case has && ok && was == l:
			return
		case l == 0 && !has:
			return
		case l == 0:
			delete(users, u)
		default:
			users[u] = json.RawMessage(fmt.Sprint(l))
		}
		changed = true
	}
	for u := range before {
		if _, still := now[u]; !still {
			set(u, 0)
		}
	}
	for u, l := range now {
		set(u, l)
	}
	if !changed {
		return levels, false, nil
	}
	content = object{}
	for k, v := range levels {
		content[k] = v
	}
	content["users"], err = json.Marshal(users)
	return content, true, err
}
