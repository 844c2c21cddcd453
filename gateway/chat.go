package gateway

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// A chat is a direct one that a person began with the bot, encrypted or not.

const (
	spaceChats = "chats" // of the store, by room id
	chatLane   = "chat/" // and the room id: the lane of a chat
	maxChats   = 1000
)

const chatHelp = "I am the gateway of your devices. They speak in rooms of their own; in one of those, !help says what they understand. " +
	"Here, “!private DEVICE …” gives you an encrypted room for devices that you choose, and “!private” lists them."

func chatKey(id ids.RoomID) ids.RoomKey { return ids.RoomKey(chatLane + string(id)) }

// chats knows the chats, and who they are with. Safe for concurrent use.
type chats struct {
	mu     sync.Mutex
	byRoom map[ids.RoomID]ids.UserID
}

func loadChats(s Store, d *directory) (*chats, error) {
	c := &chats{byRoom: map[ids.RoomID]ids.UserID{}}
	err := s.Each(spaceChats, "", func(key string, value []byte) error {
		c.byRoom[ids.RoomID(key)] = ids.UserID(value)
		d.exists(chatKey(ids.RoomID(key)), ids.RoomID(key))
		return nil
	})
	return c, err
}

func (c *chats) with(id ids.RoomID) (ids.UserID, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u, ok := c.byRoom[id]
	return u, ok
}

func (c *chats) full() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.byRoom) >= maxChats
}

// invitedToChat lets the bot follow an owner or a member into a chat, and say what it is there for.
func (g *Gateway) invitedToChat(ctx context.Context, e room.Event) {
	who := g.who.Load()
	if !who.known(e.Sender) || g.chats.full() {
		return
	}
	log := g.log.With(logkey.Room, string(e.Room), logkey.User, e.Sender)
	if err := g.matrix.Join(ctx, e.Room, who.bot); err != nil {
		log.Warn("an invitation to a chat could not be followed", logkey.Error, err)
		return
	}
	state, err := g.matrix.State(ctx, e.Room, who.bot)
	if err == nil {
		err = g.unfitForChat(state, e.Sender)
	}
	if err != nil {
		log.Info("a room is no chat of two, so the bot leaves", logkey.Reason, err.Error())
		if err := g.matrix.Leave(ctx, e.Room, who.bot); err != nil {
			log.Warn("a chat could not be left", logkey.Error, err)
		}
		return
	}
	now, key := g.now(), chatKey(e.Room)
	err = g.commit(lane.Change{
		Put:    []lane.Item{{Space: spaceChats, Key: string(e.Room), Value: []byte(e.Sender)}},
		Append: []lane.Record{{Lane: key, ID: ids.NewULID(now), Class: lane.Event, At: now, Post: lane.Post{Kind: lane.Notice, Text: chatHelp}}},
	})
	if err != nil {
		log.Error("a chat could not be recorded", logkey.Error, err)
		return
	}
	g.chats.mu.Lock()
	g.chats.byRoom[e.Room] = e.Sender
	g.chats.mu.Unlock()
	g.directory.exists(key, e.Room)
}

// unfitForChat says why a room is not a chat with one person.
func (g *Gateway) unfitForChat(state room.State, person ids.UserID) error {
	if g.cfg.Encryption == EncryptionRequire && !state.Encrypted {
		return errReadable
	}
	for u, m := range state.Members {
		if (m == "join" || m == "invite") && u != person && u != g.cfg.Bot {
			return fmt.Errorf("%s is in it", u)
		}
	}
	return nil
}

// chatted does what a message in a chat asks for.
func (g *Gateway) chatted(ctx context.Context, e room.Event, person ids.UserID, text string) func(*batch) {
	names, private := asksPrivate(text)
	switch {
	case e.Sender != person || !strings.HasPrefix(text, "!"):
		return func(*batch) {}
	case private:
		return g.privately(ctx, e, chatKey(e.Room), names)
	default:
		return func(b *batch) { g.say(b, e, chatKey(e.Room), chatHelp) }
	}
}

// leftChat lets the bot follow a person out of their chat; nil when e is about something else.
func (g *Gateway) leftChat(ctx context.Context, e room.Event) func(*batch) {
	person, ok := g.chats.with(e.Room)
	user := ids.UserID(*e.StateKey)
	if !ok || user != person && user != g.cfg.Bot || !gone(e) {
		return nil
	}
	if user == person {
		if err := g.matrix.Leave(ctx, e.Room, g.cfg.Bot); err != nil {
			g.log.Warn("a chat could not be left", logkey.Room, string(e.Room), logkey.Error, err)
		}
	}
	g.chats.mu.Lock()
	delete(g.chats.byRoom, e.Room)
	g.chats.mu.Unlock()
	return func(b *batch) {
		b.change.Put = append(b.change.Put, lane.Item{Space: spaceChats, Key: string(e.Room)})
	}
}
