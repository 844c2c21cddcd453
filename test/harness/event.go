package harness

import (
	"encoding/json"
	"time"
)

// Event is one event of a room as a homeserver gives it to a client.
type Event struct {
	ID       string          `json:"event_id"`
	Type     string          `json:"type"`
	Sender   string          `json:"sender"`
	StateKey *string         `json:"state_key"`
	Redacts  string          `json:"redacts"`
	Millis   int64           `json:"origin_server_ts"`
	Raw      json.RawMessage `json:"content"`

	Room    string  `json:"-"` // id of the room
	Content Content `json:"-"` // decoded from Raw
}

// Sent is when the sender's homeserver took it.
func (e Event) Sent() time.Time { return time.UnixMilli(e.Millis) }

// Content is what tests and demo look at in the content of any event. What is not there is zero.
type Content struct {
	MsgType       string    `json:"msgtype"`
	Body          string    `json:"body"`
	Format        string    `json:"format"`
	FormattedBody string    `json:"formatted_body"`
	URL           string    `json:"url"`
	Info          Info      `json:"info"`
	Mentions      *Mentions `json:"m.mentions"`
	Relates       Relation  `json:"m.relates_to"`
	New           *Content  `json:"m.new_content"`
	Gatepost      *Gateway  `json:"dev.gatepost"`

	Membership  string   `json:"membership"`
	DisplayName string   `json:"displayname"`
	Name        string   `json:"name"`
	Topic       string   `json:"topic"`
	Alias       string   `json:"alias"`
	RoomType    string   `json:"type"`
	Redacts     string   `json:"redacts"`
	Via         []string `json:"via"`
}

// Info describes a file.
type Info struct {
	MimeType string `json:"mimetype"`
	Size     int    `json:"size"`
	Width    int    `json:"w"`
	Height   int    `json:"h"`
}

// Mentions says who is meant.
type Mentions struct {
	Users []string `json:"user_ids"`
	Room  bool     `json:"room"`
}

// Relation ties an event to another.
type Relation struct {
	Type    string `json:"rel_type"`
	EventID string `json:"event_id"`
	Key     string `json:"key"`
	ReplyTo struct {
		EventID string `json:"event_id"`
	} `json:"m.in_reply_to"`
}

// Gateway is what gatepost says about a post of its own.
type Gateway struct {
	Version int                        `json:"v"`
	ID      string                     `json:"id"`
	Device  string                     `json:"device"`
	Topic   string                     `json:"topic"`
	Class   string                     `json:"class"`
	Values  map[string]json.RawMessage `json:"values"`
}

// decode fills Content; content of a foreign shape stays zero as far as it cannot be read.
func (e *Event) decode(room string) {
	e.Room = room
	_ = json.Unmarshal(e.Raw, &e.Content) // a wrong type somewhere leaves the rest decoded
	if e.Redacts == "" {
		e.Redacts = e.Content.Redacts
	}
}

// Room is what one person sees of a room.
type Room struct {
	ID      string
	Name    string
	Alias   string
	Topic   string
	Creator string
	Space   bool
	Joined  bool              // false: invited only, or left
	Left    bool              // was in it once
	Members map[string]string // display names of those joined
	Invited map[string]bool
	// Children of a space, by room id.
	Children map[string]bool
	// Events in the order of the homeserver, state events of the timeline too.
	Events []Event
	State  map[string]json.RawMessage // latest content by type and, unless it is empty, "|" and state key

	known map[string]bool // event ids in Events
}

func newRoom(id string) *Room {
	return &Room{
		ID: id, Members: map[string]string{}, Invited: map[string]bool{}, Children: map[string]bool{},
		State: map[string]json.RawMessage{}, known: map[string]bool{},
	}
}

// Messages are the m.room.message events, edits left out.
func (r *Room) Messages() []Event {
	var out []Event
	for _, e := range r.Events {
		if e.Type == "m.room.message" && e.Content.Relates.Type != "m.replace" {
			out = append(out, e)
		}
	}
	return out
}

// Reactions to an event, in order; redacted ones have an empty key.
func (r *Room) Reactions(event string) []Event {
	var out []Event
	for _, e := range r.Events {
		if e.Type == "m.reaction" && e.Content.Relates.EventID == event {
			out = append(out, e)
		}
	}
	return out
}

// DisplayName of a member, or the user id.
func (r *Room) DisplayName(user string) string {
	if name := r.Members[user]; name != "" {
		return name
	}
	return user
}

// setState applies a state event.
func (r *Room) setState(e Event) {
	key := *e.StateKey
	name := e.Type
	if key != "" {
		name += "|" + key
	}
	r.State[name] = e.Raw
	switch e.Type {
	case "m.room.create":
		r.Creator, r.Space = e.Sender, e.Content.RoomType == "m.space"
	case "m.room.name":
		r.Name = e.Content.Name
	case "m.room.canonical_alias":
		r.Alias = e.Content.Alias
	case "m.room.topic":
		r.Topic = e.Content.Topic
	case "m.space.child":
		if len(e.Content.Via) > 0 {
			r.Children[key] = true
		} else {
			delete(r.Children, key)
		}
	case "m.room.member":
		delete(r.Members, key)
		delete(r.Invited, key)
		switch e.Content.Membership {
		case "join":
			r.Members[key] = e.Content.DisplayName
		case "invite":
			r.Invited[key] = true
		}
	}
}
