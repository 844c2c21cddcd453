package matrix

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// kinds are the event types that matter to the gateway; all others are dropped before they are stored.
var kinds = [...]string{
	"m.room.message", kindEncrypted, "m.reaction", "m.room.redaction",
	"m.call.invite", "m.call.answer", "m.call.candidates", "m.call.select_answer", "m.call.reject", "m.call.hangup", "m.call.negotiate",
	"m.call.sdp_stream_metadata_changed", "org.matrix.call.sdp_stream_metadata_changed",
	"m.room.member", "m.room.power_levels", "m.room.join_rules", "m.room.encryption", "m.room.tombstone", "m.room.create",
}

// kindEncrypted is the type of what is encrypted (Client-Server API, "Messaging Algorithms").
const kindEncrypted = "m.room.encrypted"

func wanted(kind string) bool {
	for _, k := range kinds {
		if k == kind {
			return true
		}
	}
	return false
}

const (
	// maxContent is above the 65 536 bytes that an event may have: Synapse escapes what is not ASCII in some answers, which
	// makes three bytes of one.
	maxContent = 3 * 65536
	maxDepth   = 64  // nesting of a content; the specification has no limit, clients stay below 20
	maxNesting = 128 // nesting of all that a homeserver says; what is deeper is pruned
)

// parsed says what became of a raw event.
type parsed int

const (
	parsedOK        parsed = iota
	parsedUnwanted         // valid as far as was looked, of a kind that does not matter
	parsedMalformed        // not what a homeserver may give
)

// parseEvent reads one event in the client format. in is the room for events that do not name theirs (/sync); "" when they
// do. The content keeps every digit of its numbers.
func (c *Client) parseEvent(raw json.RawMessage, in ids.RoomID) (room.Event, parsed) {
	var o object
	if json.Unmarshal(raw, &o) != nil || o == nil {
		return room.Event{}, parsedMalformed
	}
	kind := o.text("type")
	if !wanted(kind) {
		if kind == "" {
			return room.Event{}, parsedMalformed
		}
		return room.Event{}, parsedUnwanted
	}
	if in == "" {
		in = ids.RoomID(o.text("room_id"))
	}
	e := room.Event{
		ID:       ids.EventID(o.text("event_id")),
		Room:     in,
		Type:     kind,
		Sender:   ids.UserID(o.text("sender")),
		Received: c.cfg.Now(),
		Content:  o["content"],
	}
	content := o.object("content")
	if !validEventID(string(e.ID)) || !validRoomID(string(e.Room)) || !validUserID(string(e.Sender)) ||
		content == nil || len(e.Content) > maxContent || depth(e.Content) > maxDepth {
		return room.Event{}, parsedMalformed
	}
	if raw, ok := o["state_key"]; ok {
		var key string
		if json.Unmarshal(raw, &key) != nil || len(key) > maxUserID {
			return room.Event{}, parsedMalformed
		}
		e.StateKey = &key
	}
	if ms, ok := o.integer("origin_server_ts"); ok && ms > 0 && ms < 1<<53 {
		e.Sent = time.UnixMilli(ms).UTC()
	}
	if kind == "m.room.redaction" {
		target := o.text("redacts")
		if target == "" { // room version 11 and later
			target = content.text("redacts")
		}
		if !validEventID(target) {
			return room.Event{}, parsedMalformed
		}
		e.Redacts = ids.EventID(target)
	}
	e.Content = append(json.RawMessage(nil), e.Content...) // the transaction it came in is let go
	if c.own(e.Sender) {
		e.ContentID = content.object("dev.gatepost").text("id")
	}
	return e, parsedOK
}

// parseAll keeps the events that matter, in order. Of a message of our own only its id does: without its content the inbox
// does not store again all that we say. Events of calls keep theirs: an offer of ours counts once it came back, and another
// client of the same user may have answered.
func (c *Client) parseAll(raws []json.RawMessage, in ids.RoomID) []room.Event {
	var events []room.Event
	for _, raw := range raws {
		switch e, what := c.parseEvent(raw, in); what {
		case parsedOK:
			if e.Type == kindEncrypted && e.Sender == c.bot && c.engine != nil {
				e.ContentID = c.engine.recordOf(object{"c": e.Content}.object("c").text("ciphertext"))
			}
			if e.StateKey == nil && c.own(e.Sender) && !strings.HasPrefix(e.Type, "m.call.") {
				e.Content = json.RawMessage("{}")
			}
			events = append(events, e)
		case parsedMalformed:
			c.metrics.ignored.Inc()
		case parsedUnwanted:
		}
	}
	return events
}
