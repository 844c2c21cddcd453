package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"maunium.net/go/mautrix"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

const (
	findEvents = 200             // how far Find looks back
	findPage   = 100             //
	findBefore = 5 * time.Minute // nor behind what people said that much before the record was made
	pageLimit  = 16 << 20        // bytes of a page of events: 100 of the largest, and what the homeserver adds
)

// Find looks for the event that Send made of r, reading back to r.At or a bounded number of events; ok is false when it is
// not there (reads may lag behind writes). A redaction is found when its target is redacted, by whomever.
func (c *Client) Find(ctx context.Context, in ids.RoomID, user ids.UserID, r lane.Record) (e ids.EventID, ok bool, err error) {
	user = c.speaker(user)
	if r.Post.Kind == lane.Redaction {
		return c.findRedaction(ctx, in, user, r.Post.RelatesTo)
	}
	if r.ID == "" {
		return "", false, nil
	}
	if encrypted, err := c.book.encrypted(ctx, in, user); err != nil {
		return "", false, err
	} else if encrypted {
		return c.findEncrypted(ctx, in, r)
	}
	return c.scan(ctx, in, user, r.At, func(e object) bool {
		return e.text("sender") == string(user) && contentID(e["content"]) == r.ID
	})
}

// sameReaction knows the reaction of user that a repeated one would double.
func sameReaction(user ids.UserID, p lane.Post) func(object) bool {
	return func(e object) bool {
		rel := e.object("content").object("m.relates_to")
		return e.text("type") == "m.reaction" && e.text("sender") == string(user) &&
			rel.text("event_id") == string(p.RelatesTo) && rel.text("key") == cut(text(p.Text), maxKey)
	}
}

// scan reads the room backwards as user until match holds for an event of it.
func (c *Client) scan(ctx context.Context, in ids.RoomID, user ids.UserID, at time.Time, match func(object) bool) (ids.EventID, bool, error) {
	from := ""
	for seen := 0; seen < findEvents; {
		page, next, err := c.messages(ctx, in, user, from, "")
		if err != nil {
			return "", false, err
		}
		for _, raw := range page {
			var e object
			if json.Unmarshal(raw, &e) != nil {
				continue
			}
			if id := e.text("event_id"); match(e) && validEventID(id) {
				return ids.EventID(id), true, nil
			}
			// Our own events may carry an older time than their place in the room; other people's do not.
			if ms, ok := e.integer("origin_server_ts"); ok && !c.own(ids.UserID(e.text("sender"))) && time.UnixMilli(ms).Before(at.Add(-findBefore)) {
				return "", false, nil
			}
		}
		seen += len(page)
		if len(page) == 0 || next == "" || next == from {
			return "", false, nil
		}
		from = next
	}
	return "", false, nil
}

// messages is one page of a room, latest first, from a token on ("" the end) down to another ("" no limit). next is "" at
// the beginning of the room.
func (c *Client) messages(ctx context.Context, in ids.RoomID, user ids.UserID, from, to string) (page []json.RawMessage, next string, err error) {
	query := map[string]string{"dir": "b", "limit": strconv.Itoa(findPage), "filter": messagesFilter}
	if from != "" {
		query["from"] = from
	}
	if to != "" {
		query["to"] = to
	}
	var res struct {
		Chunk []json.RawMessage `json:"chunk"`
		End   string            `json:"end"`
	}
	err = c.do(ctx, request{
		endpoint: epMessages, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "rooms", in, "messages"}, as: user, query: query, into: &res, limit: pageLimit,
	})
	if err != nil {
		return nil, "", fmt.Errorf("read the room: %w", err)
	}
	return res.Chunk, res.End, nil
}

// findRedaction looks whether target is redacted.
func (c *Client) findRedaction(ctx context.Context, in ids.RoomID, user ids.UserID, target ids.EventID) (ids.EventID, bool, error) {
	o, ok, err := c.rawEvent(ctx, in, user, target)
	if err != nil || !ok {
		return "", false, err
	}
	because := o.object("unsigned").object("redacted_because")
	if because == nil {
		return "", false, nil
	}
	if id := because.text("event_id"); validEventID(id) {
		return ids.EventID(id), true, nil
	}
	return "", true, nil
}

// Event reads one event; ok is false when there is none that we may see, or it is none that matters to the gateway.
func (c *Client) Event(ctx context.Context, in ids.RoomID, event ids.EventID) (e room.Event, ok bool, err error) {
	if !validEventID(string(event)) {
		return e, false, nil
	}
	var raw json.RawMessage
	if ok, err = c.getEvent(ctx, in, c.bot, event, &raw); err != nil || !ok {
		return e, false, err
	}
	e, what := c.parseEvent(raw, in)
	if what != parsedOK || e.ID != event {
		return e, false, nil
	}
	if e.Type == kindEncrypted {
		if clear, err := c.decrypt(ctx, e, false); err == nil {
			e = clear
		}
	}
	return e, true, nil
}

func (c *Client) rawEvent(ctx context.Context, in ids.RoomID, user ids.UserID, event ids.EventID) (o object, ok bool, err error) {
	ok, err = c.getEvent(ctx, in, user, event, &o)
	return o, ok && o != nil, err
}

func (c *Client) getEvent(ctx context.Context, in ids.RoomID, user ids.UserID, event ids.EventID, into any) (ok bool, err error) {
	err = c.do(ctx, request{endpoint: epEvent, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "rooms", in, "event", event}, as: user, into: into})
	if lane.OutcomeOf(err).Verdict == lane.Dead { // not there, or not for us
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read an event: %w", err)
	}
	return true, nil
}
