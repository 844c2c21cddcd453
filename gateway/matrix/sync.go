package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

const (
	syncPoll   = 30 * time.Second // the homeserver holds an empty answer that long
	syncLimit  = 32 << 20         // bytes of an answer
	gapPages   = 10               // of findPage events, that a gap in one room is filled with
	maxToken   = 4096             // bytes of a next_batch
	keepEvery  = 10 * time.Minute // a position without events is kept that often: a write each poll would wear out a card
	hurried    = 10               // empty answers in a row that did not wait, before each has a pause
	hurryPause = time.Second      //
)

// timelines are the events that one /sync may hold for a room, tried from the left when an answer is too large.
var timelines = [...]int{100, 10, 1}

var messagesFilter = roomFilter()

// roomFilter is a RoomEventFilter for the kinds of events that matter.
func roomFilter() string {
	raw, _ := encode(map[string]any{"types": kinds}) // texts can be encoded
	return string(raw)
}

// syncFilter lets only what matters through: no presence, no account data, no receipts, no state besides the timeline.
func syncFilter(timeline int) string {
	none := map[string]any{"not_types": []string{"*"}, "types": []string{}}
	raw, _ := encode(map[string]any{ // texts can be encoded
		"presence":     none,
		"account_data": none,
		"room": map[string]any{
			"account_data": none,
			"ephemeral":    none,
			"state":        map[string]any{"not_types": []string{"*"}, "types": []string{}, "lazy_load_members": true},
			"timeline":     map[string]any{"types": kinds, "limit": timeline},
		},
	})
	return string(raw)
}

// syncResponse is the part of a /sync answer that is read.
type syncResponse struct {
	NextBatch string `json:"next_batch"`
	ToDevice  struct {
		Events []json.RawMessage `json:"events"`
	} `json:"to_device"`
	DeviceLists struct {
		Changed []id.UserID `json:"changed"`
		Left    []id.UserID `json:"left"` // in no room with us any more: nobody tells what becomes of their devices
	} `json:"device_lists"`
	OneTimeKeys map[string]int `json:"device_one_time_keys_count"` // left at the homeserver, by algorithm; one that is missing may be used up
	Fallback    []string       `json:"device_unused_fallback_key_types"`
	Rooms       struct {
		Join   map[ids.RoomID]syncRoom   `json:"join"`
		Leave  map[ids.RoomID]syncRoom   `json:"leave"`
		Invite map[ids.RoomID]syncInvite `json:"invite"`
	} `json:"rooms"`
}

type syncRoom struct {
	Timeline struct {
		Events    []json.RawMessage `json:"events"`
		Limited   bool              `json:"limited"`
		PrevBatch string            `json:"prev_batch"`
	} `json:"timeline"`
}

type syncInvite struct {
	State struct {
		Events []object `json:"events"`
	} `json:"invite_state"`
}

// syncLoop reads until ctx is done: ask for what follows the position, commit it together with the new position, go on.
func (c *Client) syncLoop(ctx context.Context) {
	since, err := c.cfg.Inbox.Position(SourceSync)
	for wait := firstWait; err != nil; wait = min(2*wait, maxWait) {
		c.health.set(partSync, fmt.Errorf("matrix: read the sync position: %w", err))
		if !pauseFor(ctx, wait) {
			return
		}
		since, err = c.cfg.Inbox.Position(SourceSync)
	}
	s := syncer{c: c, since: since, kept: since, keptAt: time.Now()}
	wait, quick := firstWait, 0
	for ctx.Err() == nil {
		start := time.Now()
		n, err := s.step(ctx)
		c.health.set(partSync, err)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.cfg.Log.Warn("sync failed", logkey.Error, err)
			if !pauseFor(ctx, max(wait, min(lane.OutcomeOf(err).After, maxPause))) {
				return
			}
			wait = min(2*wait, maxWait)
			continue
		case n == 0 && time.Since(start) < 100*time.Millisecond: // somebody is typing, or the homeserver does not wait
			if quick++; quick > hurried && !pauseFor(ctx, hurryPause) {
				return
			}
		default:
			quick = 0
		}
		wait = firstWait
	}
}

// syncer is the state of one loop; its owner is that loop.
type syncer struct {
	c      *Client
	since  string    // where the next answer begins
	before string    // where the last answer began
	again  string    // the since from which we went back to before already
	kept   string    // what the Inbox has
	keptAt time.Time //
	small  int       // index into timelines
}

// step performs one /sync and says how many events mattered. A homeserver that shuts down may answer with a position beyond
// an event that it leaves out (Dendrite does), so the last answer is never trusted alone: after a failure, and after a start
// of ours, what followed the position before is asked for again. The Inbox knows what it has.
func (s *syncer) step(ctx context.Context) (int, error) {
	res, err := s.ask(ctx)
	if err != nil {
		if s.before != "" && s.again != s.since {
			s.again, s.since = s.since, s.before
		}
		return 0, err
	}
	if s.c.engine != nil {
		if s.since == "" { // nobody tells what changed before
			if err := s.c.engine.missed(ctx); err != nil {
				return 0, fmt.Errorf("matrix: doubt what is known of devices: %w", err)
			}
		}
		if err := s.c.engine.took(ctx, res); err != nil {
			return 0, fmt.Errorf("matrix: keep what came to the bot's device: %w", err)
		}
	}
	events, err := s.collect(ctx, res)
	if err != nil {
		return 0, err
	}
	if len(events) > 0 || s.kept == "" || time.Since(s.keptAt) >= keepEvery {
		position := s.since
		if position == "" {
			position = res.NextBatch
		}
		if err := s.c.book.apply(events); err != nil {
			return 0, err
		}
		fresh, err := s.c.cfg.Inbox.Accept(SourceSync, position, events)
		if err != nil {
			return 0, fmt.Errorf("matrix: store what /sync gave: %w", err)
		}
		s.c.metrics.events.Add(float64(fresh), SourceSync)
		s.kept, s.keptAt = position, time.Now()
	}
	if res.NextBatch != s.since {
		s.before, s.since = s.since, res.NextBatch
	}
	return len(events), nil
}

func (s *syncer) ask(ctx context.Context) (res syncResponse, err error) {
	query := map[string]string{
		"filter": syncFilter(timelines[s.small]), "set_presence": "offline", "timeout": strconv.FormatInt(syncPoll.Milliseconds(), 10),
	}
	if s.since == "" { // a new store: only the position matters
		query["filter"], query["timeout"] = syncFilter(1), "0"
	} else {
		query["since"] = s.since
	}
	r := request{
		endpoint: epSync, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "sync"}, as: s.c.bot, query: query, into: &res,
		limit: syncLimit, timeout: syncPoll + requestTimeout,
	}
	if s.c.engine != nil { // what is for its device comes to nobody else
		r.token, r.device = s.c.engine.deviceToken(), s.c.engine.deviceName()
	}
	err = s.c.do(ctx, r)
	switch {
	case lane.OutcomeOf(err).Code == codeTooLong && s.small < len(timelines)-1:
		s.small++ // what is left out comes by filling gaps
		return res, fmt.Errorf("matrix: /sync: %w", err)
	case err != nil:
		return res, fmt.Errorf("matrix: /sync: %w", err)
	case res.NextBatch == "" || len(res.NextBatch) > maxToken:
		return res, lane.Outcome{Verdict: lane.Retry, Code: "HTTP 200", Reason: "/sync gave no position"}
	}
	s.small = 0
	return res, nil
}

// collect takes out of an answer what matters, in the order of each room. Of the first answer of a new store only the
// invitations count: what was said before gatepost came is not for it.
func (s *syncer) collect(ctx context.Context, res syncResponse) ([]room.Event, error) {
	var events []room.Event
	if s.since != "" {
		for _, rooms := range []map[ids.RoomID]syncRoom{res.Rooms.Join, res.Rooms.Leave} {
			for _, id := range slices.Sorted(maps.Keys(rooms)) {
				if !validRoomID(string(id)) {
					s.c.metrics.ignored.Inc()
					continue
				}
				part, err := s.timeline(ctx, id, rooms[id])
				if err != nil {
					return nil, err
				}
				events = append(events, part...)
			}
		}
	}
	if s.c.cfg.Mode == Account { // an appservice is told of invitations by its transactions
		for _, id := range slices.Sorted(maps.Keys(res.Rooms.Invite)) {
			if e, ok := s.invitation(id, res.Rooms.Invite[id]); ok {
				events = append(events, e)
			}
		}
	}
	return events, nil
}

// timeline is what happened in a room since the last answer. What a limited answer left out is fetched, to a bound.
func (s *syncer) timeline(ctx context.Context, id ids.RoomID, r syncRoom) ([]room.Event, error) {
	raws := r.Timeline.Events
	if r.Timeline.Limited {
		s.c.book.doubt(id)
	}
	if r.Timeline.Limited && r.Timeline.PrevBatch != "" {
		missed, err := s.missed(ctx, id, r.Timeline.PrevBatch)
		if err != nil {
			return nil, err
		}
		raws = append(missed, raws...)
	}
	return s.c.parseAll(raws, id), nil
}

// missed reads back from a limited timeline to the last position, and gives what is there in order.
func (s *syncer) missed(ctx context.Context, id ids.RoomID, from string) ([]json.RawMessage, error) {
	var raws []json.RawMessage
	for range gapPages {
		page, next, err := s.c.messages(ctx, id, s.c.bot, from, s.since)
		if lane.OutcomeOf(err).Verdict == lane.Dead { // we are no longer in the room
			break
		}
		if err != nil {
			return nil, err
		}
		raws = append(raws, page...)
		if next == "" || next == from || next == s.since || len(page) == 0 {
			slices.Reverse(raws)
			return raws, nil
		}
		from = next
	}
	s.c.cfg.Log.Warn("events missed, too many since the last sync", logkey.Room, string(id), logkey.Count, len(raws))
	slices.Reverse(raws)
	return raws, nil
}

// invitation is the event by which the bot was invited. Invitations come stripped of their id; the one made here is the
// same when the same answer comes again.
func (s *syncer) invitation(id ids.RoomID, in syncInvite) (room.Event, bool) {
	for _, e := range in.State.Events {
		if e.text("type") != "m.room.member" || e.text("state_key") != string(s.c.bot) || e.object("content").text("membership") != "invite" {
			continue
		}
		sender, key := e.text("sender"), string(s.c.bot)
		if !validRoomID(string(id)) || !validUserID(sender) || len(e["content"]) > maxContent {
			s.c.metrics.ignored.Inc()
			return room.Event{}, false
		}
		now := s.c.cfg.Now()
		return room.Event{
			ID: ids.EventID("$invite-" + ids.Hash(string(id)+"\n"+sender+"\n"+s.since)), Room: id, Type: "m.room.member",
			Sender: ids.UserID(sender), StateKey: &key, Sent: now, Received: now, Content: slices.Clone(e["content"]),
		}, true
	}
	return room.Event{}, false
}
