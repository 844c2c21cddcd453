package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// The power levels of a room of ours. People have 0 unless the room says otherwise.
const (
	levelBot   = 100
	levelState = 50
)

// CreateRoom makes a room: private, invite only, its history shown from the invitation on. It is not repeated
// by anybody when its answer was not seen; with an alias in cr, Resolve finds what became of it.
func (c *Client) CreateRoom(ctx context.Context, cr room.Create) (ids.RoomID, error) {
	a := c.abilities.Load()
	if a == nil { // the room version decides about power levels
		return "", lane.Outcome{Verdict: lane.Retry, Code: "not ready", Reason: ErrNotAsked.Error()}
	}
	if cr.Alias != "" && !c.ownAlias(cr.Alias) {
		return "", lane.Outcome{Verdict: lane.Dead, Code: "namespace", Reason: fmt.Sprintf("the alias %q is not in our namespace", cr.Alias)}
	}
	var res struct {
		Room string `json:"room_id"`
	}
	err := c.do(ctx, request{
		endpoint: epCreateRoom, method: http.MethodPost, path: mautrix.ClientURLPath{"v3", "createRoom"}, as: c.speaker(cr.As),
		body: c.createContent(cr, a.RoomVersion), into: &res, once: true,
	})
	if err != nil {
		return "", fmt.Errorf("create a room: %w", err)
	}
	if !validRoomID(res.Room) {
		return "", lane.Outcome{Verdict: lane.Unknown, Code: "HTTP 200", Reason: "the homeserver gave no room id"}
	}
	return ids.RoomID(res.Room), nil
}

// createContent is the body of createRoom for a homeserver whose rooms have the given version.
func (c *Client) createContent(cr room.Create, version string) map[string]any {
	creation := map[string]any{"m.federate": cr.Federate}
	if cr.Token != "" {
		creation["dev.gatepost.room"] = cr.Token
	}
	talk := 0
	if cr.Space {
		creation["type"] = "m.space"
		talk = levelBot // a space is no place to talk
	}
	body := map[string]any{
		"preset":           "private_chat", // not trusted_private_chat: it makes those invited creators for ever
		"visibility":       "private",
		"creation_content": creation,
		"initial_state": []map[string]any{
			{"type": "m.room.history_visibility", "state_key": "", "content": map[string]string{"history_visibility": "invited"}},
			{"type": "m.room.guest_access", "state_key": "", "content": map[string]string{"guest_access": "forbidden"}},
		},
		"power_level_content_override": powerLevels(c.speaker(cr.As), cr.Power, version, talk),
	}
	if cr.Encrypt {
		body["initial_state"] = append(body["initial_state"].([]map[string]any), map[string]any{
			"type": kindEncryption, "state_key": "", "content": map[string]string{"algorithm": "m.megolm.v1.aes-sha2"},
		})
	}
	set := func(key, value string) {
		if value != "" {
			body[key] = value
		}
	}
	set("name", clean(cr.Name, 255))
	set("topic", clean(cr.Topic, 1024))
	set("room_alias_name", cr.Alias)
	set("room_version", version) // the default that we were told: the levels above fit this one
	if len(cr.Invite) > 0 {
		body["invite"] = cr.Invite
	}
	if cr.Direct {
		body["is_direct"] = true
	}
	return body
}

// powerLevels is m.room.power_levels of a new room. From room version 12 on the creator stands above all levels and must
// not be listed.
func powerLevels(creator ids.UserID, power map[ids.UserID]int, version string, talk int) map[string]any {
	users := map[ids.UserID]int{creator: levelBot}
	for u, l := range power {
		users[u] = l
	}
	tombstone := levelBot
	if id.RoomVersion(version).PrivilegedRoomCreators() {
		delete(users, creator)
		tombstone = 150
	}
	return map[string]any{
		"users": users, "users_default": 0, "events_default": talk,
		"state_default": levelState, "invite": levelState, "kick": levelState, "ban": levelState, "redact": levelState,
		"notifications": map[string]int{"room": levelState},
		"events": map[string]int{
			"m.room.power_levels": levelBot, "m.room.history_visibility": levelBot, "m.room.join_rules": levelBot,
			"m.room.encryption": levelBot, "m.room.server_acl": levelBot, "m.room.tombstone": tombstone,
			// What a ghost says about itself: where it is, that it is in a call.
			"org.matrix.msc3672.beacon_info": 0, "org.matrix.msc3401.call.member": 0,
		},
	}
}

// Resolve finds the room of an alias ("#local:server"); ok is false when nobody has it. Who made it, and its token, are
// only there when the bot may look into the room.
func (c *Client) Resolve(ctx context.Context, alias string) (f room.Found, ok bool, err error) {
	if !strings.HasPrefix(alias, "#") || !strings.Contains(alias, ":") || len(alias) > maxUserID {
		return f, false, lane.Outcome{Verdict: lane.Dead, Code: "alias", Reason: fmt.Sprintf("%q is not an alias", clean(alias, maxUserID))}
	}
	var res struct {
		Room string `json:"room_id"`
	}
	err = c.do(ctx, request{endpoint: epDirectory, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "directory", "room", alias}, as: c.bot, into: &res})
	switch o := lane.OutcomeOf(err); {
	case o.Code == "M_NOT_FOUND":
		return f, false, nil
	case err != nil:
		return f, false, fmt.Errorf("resolve %s: %w", alias, err)
	case !validRoomID(res.Room):
		return f, false, lane.Outcome{Verdict: lane.Retry, Code: "HTTP 200", Reason: "the homeserver gave no room id for " + alias}
	}
	f.Room = ids.RoomID(res.Room)
	events, err := c.stateEvents(ctx, f.Room, c.bot)
	if lane.OutcomeOf(err).Verdict == lane.Dead { // we may not look: not ours
		return f, true, nil
	}
	if err != nil {
		return room.Found{}, false, err
	}
	for _, e := range events {
		if e.text("type") == "m.room.create" && e.text("state_key") == "" {
			f.Creator = ids.UserID(e.text("sender"))
			f.Token = e.object("content").text("dev.gatepost.room")
		}
	}
	return f, true, nil
}

// SetState puts a state event as the bot. Idempotent.
func (c *Client) SetState(ctx context.Context, in ids.RoomID, typ, key string, content any) error {
	err := c.do(ctx, request{
		endpoint: epSetState, method: http.MethodPut, path: mautrix.ClientURLPath{"v3", "rooms", in, "state", typ, key}, as: c.bot, body: content,
	})
	if err != nil {
		return fmt.Errorf("set %s: %w", typ, err)
	}
	return nil
}

// Pin makes event one of the room's pinned ones (Client-Server API, m.room.pinned_events) in the place of old ("" none), as the
// bot; "" takes old away. Those that others pinned stay. Idempotent.
func (c *Client) Pin(ctx context.Context, in ids.RoomID, event, old ids.EventID) error {
	var content struct {
		Pinned []ids.EventID `json:"pinned"`
	}
	err := c.do(ctx, request{
		endpoint: epState, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "rooms", in, "state", "m.room.pinned_events", ""}, as: c.bot, into: &content,
	})
	if err != nil && lane.OutcomeOf(err).Code != "M_NOT_FOUND" {
		return fmt.Errorf("read the pinned events: %w", err)
	}
	if (event == "" || slices.Contains(content.Pinned, event)) && (old == "" || !slices.Contains(content.Pinned, old)) {
		return nil
	}
	content.Pinned = slices.DeleteFunc(content.Pinned, func(e ids.EventID) bool { return e == event || e == old || !validEventID(string(e)) })
	content.Pinned = content.Pinned[:min(len(content.Pinned), maxPinned)]
	if event != "" {
		content.Pinned = append(content.Pinned, event)
	}
	return c.SetState(ctx, in, "m.room.pinned_events", "", content)
}

// maxPinned is how many pinned events of others are kept.
const maxPinned = 100

// Invite is done too when the user is in the room, or invited, already; it then asks nothing of the room, so nobody is
// invited twice.
func (c *Client) Invite(ctx context.Context, in ids.RoomID, user ids.UserID) error {
	switch member, err := c.membership(ctx, in, user); {
	case err != nil:
		return fmt.Errorf("invite %s: %w", user, err)
	case member == "join" || member == "invite":
		return nil
	}
	err := c.do(ctx, request{
		endpoint: epInvite, method: http.MethodPost, path: mautrix.ClientURLPath{"v3", "rooms", in, "invite"}, as: c.bot,
		body: map[string]ids.UserID{"user_id": user},
	})
	if err != nil && lane.OutcomeOf(err).Verdict == lane.Dead { // perhaps the user came in meanwhile
		if member, merr := c.membership(ctx, in, user); merr == nil && (member == "join" || member == "invite") {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("invite %s: %w", user, err)
	}
	return nil
}

// membership is "" for somebody who was never there.
func (c *Client) membership(ctx context.Context, in ids.RoomID, user ids.UserID) (string, error) {
	var res struct {
		Membership string `json:"membership"`
	}
	err := c.do(ctx, request{
		endpoint: epState, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "rooms", in, "state", "m.room.member", user}, as: c.bot, into: &res,
	})
	if lane.OutcomeOf(err).Code == "M_NOT_FOUND" {
		return "", nil
	}
	return res.Membership, err
}

// Join lets user join a room it is invited to. Idempotent.
func (c *Client) Join(ctx context.Context, in ids.RoomID, user ids.UserID) error {
	user = c.speaker(user)
	err := c.do(ctx, request{endpoint: epJoin, method: http.MethodPost, path: mautrix.ClientURLPath{"v3", "rooms", in, "join"}, as: user})
	if err != nil {
		return fmt.Errorf("join as %s: %w", user, err)
	}
	return nil
}

// Leave takes user out of a room. Done too when it is not in it.
func (c *Client) Leave(ctx context.Context, in ids.RoomID, user ids.UserID) error {
	user = c.speaker(user)
	err := c.do(ctx, request{endpoint: epLeave, method: http.MethodPost, path: mautrix.ClientURLPath{"v3", "rooms", in, "leave"}, as: user})
	if err != nil && lane.OutcomeOf(err).Verdict != lane.Dead {
		return fmt.Errorf("leave as %s: %w", user, err)
	}
	return nil
}

const stateLimit = 16 << 20 // bytes of a room's whole state: some 20 000 members

// stateEvents is the whole state of a room as a user sees it.
func (c *Client) stateEvents(ctx context.Context, in ids.RoomID, user ids.UserID) ([]object, error) {
	var raws []json.RawMessage
	err := c.do(ctx, request{
		endpoint: epState, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "rooms", in, "state"}, as: user, into: &raws, limit: stateLimit,
	})
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	events := make([]object, 0, len(raws))
	for _, raw := range raws {
		var o object
		if json.Unmarshal(raw, &o) == nil && o != nil {
			events = append(events, o)
		}
	}
	return events, nil
}

// State reads what decides about commands and calls.
func (c *Client) State(ctx context.Context, in ids.RoomID, user ids.UserID) (room.State, error) {
	events, err := c.stateEvents(ctx, in, c.speaker(user))
	if err != nil {
		return room.State{}, err
	}
	return roomState(events), nil
}

// roomState is the state that events make up. What is malformed gives no rights: a missing join rule is none of those that
// commands need, a level that is not one is the default.
func roomState(events []object) room.State {
	s := room.State{Version: "1", Users: map[ids.UserID]int{}, Members: map[ids.UserID]string{}}
	var creator ids.UserID
	levels := false
	for _, e := range events {
		key, content := e.text("state_key"), e.object("content")
		typ := e.text("type")
		if typ == "m.room.member" {
			s.Members[ids.UserID(key)] = content.text("membership")
			continue
		}
		if key != "" {
			continue
		}
		switch typ {
		case "m.room.create":
			creator = ids.UserID(e.text("sender"))
			s.Creator, s.Predecessor = creator, ids.RoomID(content.object("predecessor").text("room_id"))
			if v := content.text("room_version"); v != "" {
				s.Version = v
			}
			if id.RoomVersion(s.Version).PrivilegedRoomCreators() {
				s.Creators = append([]ids.UserID{creator}, additional(content["additional_creators"])...)
			}
		case "m.room.join_rules":
			s.JoinRule = content.text("join_rule")
		case "m.room.encryption":
			s.Encrypted = true
		case "m.room.history_visibility":
			s.WorldReadable = content.text("history_visibility") == "world_readable"
		case "m.room.power_levels":
			levels = true
			for user, raw := range content.object("users") {
				if l, ok := level(raw); ok {
					s.Users[ids.UserID(user)] = l
				}
			}
			s.UsersDefault, _ = level(content["users_default"]) // 0 when it is not there or not a level
		}
	}
	if !levels && creator != "" && s.Creators == nil { // m.room.power_levels: without the event the creator has 100
		s.Users[creator] = levelBot
	}
	return s
}

func additional(raw json.RawMessage) []ids.UserID {
	var users []ids.UserID
	if json.Unmarshal(raw, &users) != nil {
		return nil
	}
	return users
}
