package harness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// syncAnswer is what we read of a /sync response.
type syncAnswer struct {
	Next  string `json:"next_batch"`
	Rooms struct {
		Join map[string]struct {
			State    events `json:"state"`
			Timeline struct {
				Limited bool    `json:"limited"`
				Prev    string  `json:"prev_batch"`
				Events  []Event `json:"events"`
			} `json:"timeline"`
		} `json:"join"`
		Invite map[string]struct {
			State events `json:"invite_state"`
		} `json:"invite"`
		Leave map[string]struct {
			Timeline events `json:"timeline"`
		} `json:"leave"`
	} `json:"rooms"`
}

type events struct {
	Events []Event `json:"events"`
}

// refusal is the homeserver's answer in err, nil when there was none.
func refusal(err error) *APIError {
	var refused *APIError
	if errors.As(err, &refused) {
		return refused
	}
	return nil
}

// take applies one sync: what it lacks is fetched first, then everything is shown at once.
func (p *Person) take(ctx context.Context, s *syncAnswer) error {
	for id := range s.Rooms.Invite {
		if err := p.client.do(ctx, http.MethodPost, "/_matrix/client/v3/join/"+url.PathEscape(id), struct{}{}, nil); err != nil {
			if refusal(err) == nil {
				return err
			}
			continue // taken back meanwhile
		}
	}
	gaps := map[string][]Event{}
	for id, room := range s.Rooms.Join {
		if !room.Timeline.Limited || room.Timeline.Prev == "" {
			continue
		}
		gap, err := p.back(ctx, id, room.Timeline.Prev, func(e Event) bool { return p.knows(id, e.ID) })
		if err != nil {
			return err
		}
		gaps[id] = gap
	}

	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range s.Rooms.Invite {
		p.room(id)
	}
	for id, room := range s.Rooms.Join {
		r := p.room(id)
		r.Joined, r.Left = true, false
		p.append(r, gaps[id], func() {
			for _, e := range room.State.Events { // as it is where the gap ends
				e.decode(id)
				if e.StateKey != nil {
					r.setState(e)
				}
			}
		})
		p.append(r, room.Timeline.Events, nil)
	}
	for id, room := range s.Rooms.Leave {
		r := p.room(id)
		r.Joined, r.Left = false, true
		p.append(r, room.Timeline.Events, nil)
	}
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

// append adds the events of list that are new, calls then (if there is one), and tells OnEvent. Called with mu held.
func (p *Person) append(r *Room, list []Event, then func()) {
	var fresh []Event
	for _, e := range list {
		if r.known[e.ID] {
			continue
		}
		e.decode(r.ID)
		r.known[e.ID] = true
		r.Events = append(r.Events, e)
		fresh = append(fresh, e)
		if e.StateKey != nil {
			r.setState(e)
		}
	}
	if then != nil {
		then()
	}
	if p.OnEvent != nil {
		for _, e := range fresh {
			p.OnEvent(r, e)
		}
	}
}

// room finds or makes the entry of a room. Called with mu held.
func (p *Person) room(id string) *Room {
	r := p.rooms[id]
	if r == nil {
		r = newRoom(id)
		p.rooms[id] = r
	}
	return r
}

func (p *Person) knows(room, event string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.rooms[room]
	return r != nil && r.known[event]
}

// back reads a room backwards from a place ("": its end) to the first event of which stop is true, which is left out, or
// to the beginning. Oldest first.
func (p *Person) back(ctx context.Context, room, from string, stop func(Event) bool) ([]Event, error) {
	var out []Event // latest first
	for {
		path := fmt.Sprintf("/_matrix/client/v3/rooms/%s/messages?dir=b&limit=500", url.PathEscape(room))
		if from != "" {
			path += "&from=" + url.QueryEscape(from)
		}
		var page struct {
			Chunk []Event `json:"chunk"`
			End   string  `json:"end"`
		}
		if err := p.client.do(ctx, http.MethodGet, path, nil, &page); err != nil {
			return nil, err
		}
		for _, e := range page.Chunk {
			e.decode(room)
			if stop(e) {
				slices.Reverse(out)
				return out, nil
			}
			out = append(out, e)
		}
		if page.End == "" || page.End == from || len(page.Chunk) == 0 {
			slices.Reverse(out)
			return out, nil
		}
		from = page.End
	}
}
