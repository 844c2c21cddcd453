package gateway

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// Reading what a person asks for; all of it pure.

// messageContent is what we read of an m.room.message.
type messageContent struct {
	MsgType  string `json:"msgtype"`
	Body     string `json:"body"`
	Mentions struct {
		Users []ids.UserID `json:"user_ids"`
	} `json:"m.mentions"`
	RelatesTo struct {
		RelType   string `json:"rel_type"`
		InReplyTo struct {
			EventID ids.EventID `json:"event_id"`
		} `json:"m.in_reply_to"`
	} `json:"m.relates_to"`
	NewContent json.RawMessage `json:"m.new_content"` // of an edit
}

// spoken is what a person typed: without the quotation that older clients put before a reply (rich reply fallback).
func spoken(body string, isReply bool) string {
	if isReply {
		for strings.HasPrefix(body, "> ") || body == ">" || strings.HasPrefix(body, ">\n") {
			_, rest, more := strings.Cut(body, "\n")
			if !more {
				return ""
			}
			body = rest
		}
	}
	return strings.TrimSpace(body)
}

// addressed is what somebody says to one who is mentioned: the text behind one of names at its beginning, and perhaps ":" or
// ",". ok is false when it does not begin with one.
func addressed(text string, names ...string) (said string, ok bool) {
	for _, name := range names {
		if name == "" || len(text) < len(name) || !strings.EqualFold(text[:len(name)], name) {
			continue
		}
		rest := text[len(name):]
		if rest == "" || !strings.ContainsRune(":, \n\t", rune(rest[0])) {
			continue // a longer name
		}
		return strings.TrimSpace(strings.TrimLeft(rest, ":,")), true
	}
	return "", false
}

// mentioned is the device that a message mentions and speaks to, and what it says. The bot speaks for a device that is alone
// in its room.
func (g *Gateway) mentioned(users []ids.UserID, text string, devices []ids.DeviceID) (about ids.DeviceID, said string, ok bool) {
	who := g.who.Load()
	for _, d := range devices {
		user := who.user(d)
		if !slices.Contains(users, user) || user == who.bot && len(devices) > 1 {
			continue
		}
		at, _ := g.directory.place(d)
		if said, ok = addressed(text, string(user), at.name, "@"+at.name); ok {
			return d, said, true
		}
	}
	if len(devices) == 1 && slices.Contains(users, who.bot) {
		if said, ok = addressed(text, string(who.bot), "gatepost", "@gatepost"); ok {
			return devices[0], said, true
		}
	}
	return "", "", false
}

// deviceOf is the device that an event of ours is about.
func deviceOf(e room.Event) ids.DeviceID {
	var c struct {
		Gatepost struct {
			Device ids.DeviceID `json:"device"`
		} `json:"dev.gatepost"`
	}
	_ = json.Unmarshal(e.Content, &c) // anything else is about none
	return c.Gatepost.Device
}

// ask is what a message asks for.
type ask struct {
	device ids.DeviceID // "" when the room has several and none was named
	name   string
	args   string
	bang   bool        // it began with "!", so it is meant for us, whatever follows
	card   ids.EventID // it is a reaction on this card; "" a message
}

// parseAsk reads "!name args" in a room with one device, "!device name args" in a shared one, and "name args", with or
// without "!", in a reply to a message about a device. Words end at any white space; what stands behind the name, lines and
// braces included, is args as it was typed.
func parseAsk(text string, devices []ids.DeviceID, about ids.DeviceID) (a ask, ok bool) {
	rest, bang := strings.CutPrefix(text, "!")
	if !bang && about == "" || len(devices) == 0 {
		return ask{}, false
	}
	first, more := word(rest)
	if first == "" {
		return ask{}, false
	}
	if slices.Contains(devices, ids.DeviceID(first)) {
		name, args := word(more)
		if name == "" {
			name = "help"
		}
		return ask{device: ids.DeviceID(first), name: name, args: args, bang: bang}, true
	}
	a = ask{name: first, args: more, bang: bang}
	switch {
	case slices.Contains(devices, about):
		a.device = about
	case len(devices) == 1:
		a.device = devices[0]
	}
	return a, bang || a.device != ""
}

// word cuts the first word off.
func word(s string) (first, rest string) {
	s = strings.TrimSpace(s)
	if i := strings.IndexFunc(s, unicode.IsSpace); i >= 0 {
		return s[:i], strings.TrimSpace(s[i:])
	}
	return s, ""
}

func list(devices []ids.DeviceID) string {
	var out []string
	for _, d := range devices[:min(len(devices), 20)] {
		out = append(out, string(d))
	}
	if len(devices) > 20 {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}
