package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Person is a Matrix user at a client: reads by /sync, accepts invitations, writes. Run keeps what the person sees up to
// date; everything else may be called meanwhile from any goroutine.
type Person struct {
	UserID string

	// OnEvent is called for each new event of a room's timeline, in order, from the goroutine of Run. The room is only
	// valid during the call, which must not call View or Await. Set before Run.
	OnEvent func(room *Room, event Event)

	client client
	next   atomic.Int64 // number of the next transaction
	txn    string       // prefix of transaction ids

	mu      sync.Mutex
	rooms   map[string]*Room
	changed chan struct{} // closed and replaced after each sync
	failed  error         // why Run ended
}

// Login logs in with a password.
func Login(ctx context.Context, hs Homeserver, localpart, password string) (*Person, error) {
	p := &Person{client: client{base: hs.URL()}, txn: Secret(), rooms: map[string]*Room{}, changed: make(chan struct{})}
	body := map[string]any{
		"type":       "m.login.password",
		"identifier": map[string]string{"type": "m.id.user", "user": localpart},
		"password":   password,
	}
	var answer struct {
		UserID string `json:"user_id"`
		Token  string `json:"access_token"`
	}
	if err := p.client.do(ctx, http.MethodPost, "/_matrix/client/v3/login", body, &answer); err != nil {
		return nil, fmt.Errorf("log in %s: %w", localpart, err)
	}
	p.UserID, p.client.token = answer.UserID, answer.Token
	return p, nil
}

// Run follows the rooms until ctx is done (nil) or the homeserver refuses the person. An unreachable homeserver is tried
// again, from one answer back: Dendrite, while it shuts down, answers with a position beyond an event that it leaves out.
func (p *Person) Run(ctx context.Context) error {
	filter := url.QueryEscape(`{"presence":{"types":[]},"room":{"timeline":{"limit":200},"ephemeral":{"types":[]}}}`)
	since, before := "", ""
	for ctx.Err() == nil {
		path := "/_matrix/client/v3/sync?timeout=20000&filter=" + filter
		if since != "" {
			path += "&since=" + url.QueryEscape(since)
		}
		var s syncAnswer
		err := p.client.do(ctx, http.MethodGet, path, nil, &s)
		if err == nil {
			err = p.take(ctx, &s)
		}
		if err != nil {
			if refused := refusal(err); refused != nil && refused.Status == http.StatusUnauthorized {
				p.end(err)
				return err
			}
			since = before
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		if s.Next != since {
			before, since = since, s.Next
		}
	}
	p.end(ctx.Err())
	return nil
}

func (p *Person) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed = err
	close(p.changed)
	p.changed = make(chan struct{})
}

// Await blocks until cond is true of the rooms (by id) that the person sees; it is asked after every change. what says
// in an error what was waited for. cond must not keep the rooms nor call the Person.
func (p *Person) Await(ctx context.Context, what string, cond func(rooms map[string]*Room) bool) error {
	for {
		p.mu.Lock()
		if cond(p.rooms) {
			p.mu.Unlock()
			return nil
		}
		changed, failed := p.changed, p.failed
		p.mu.Unlock()
		if failed != nil {
			return fmt.Errorf("%s never saw %s: %w", p.UserID, what, failed)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%s waited in vain for %s: %w", p.UserID, what, ctx.Err())
		}
	}
}

// View calls f with the rooms as they are now, under the rules of Await.
func (p *Person) View(f func(rooms map[string]*Room)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p.rooms)
}

// Send puts an event into a room and returns its id.
func (p *Person) Send(ctx context.Context, room, typ string, content any) (string, error) {
	path := fmt.Sprintf("/_matrix/client/v3/rooms/%s/send/%s/%s-%d",
		url.PathEscape(room), url.PathEscape(typ), p.txn, p.next.Add(1))
	var answer struct {
		EventID string `json:"event_id"`
	}
	err := p.client.do(ctx, http.MethodPut, path, content, &answer)
	return answer.EventID, err
}

// Say sends a text.
func (p *Person) Say(ctx context.Context, room, text string) (string, error) {
	return p.Send(ctx, room, "m.room.message", map[string]any{"msgtype": "m.text", "body": text})
}

// Reply sends a text in reply to an event.
func (p *Person) Reply(ctx context.Context, room, event, text string) (string, error) {
	return p.Send(ctx, room, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": text,
		"m.relates_to": map[string]any{"m.in_reply_to": map[string]string{"event_id": event}},
	})
}

// Edit replaces the text of an own message.
func (p *Person) Edit(ctx context.Context, room, event, text string) (string, error) {
	return p.Send(ctx, room, "m.room.message", map[string]any{
		"msgtype": "m.text", "body": "* " + text,
		"m.new_content": map[string]string{"msgtype": "m.text", "body": text},
		"m.relates_to":  map[string]string{"rel_type": "m.replace", "event_id": event},
	})
}

// React puts a reaction on an event.
func (p *Person) React(ctx context.Context, room, event, key string) (string, error) {
	return p.Send(ctx, room, "m.reaction", map[string]any{
		"m.relates_to": map[string]string{"rel_type": "m.annotation", "event_id": event, "key": key},
	})
}

// Redact takes an event back.
func (p *Person) Redact(ctx context.Context, room, event string) error {
	path := fmt.Sprintf("/_matrix/client/v3/rooms/%s/redact/%s/%s-%d",
		url.PathEscape(room), url.PathEscape(event), p.txn, p.next.Add(1))
	return p.client.do(ctx, http.MethodPut, path, struct{}{}, nil)
}

// SetState puts a state event.
func (p *Person) SetState(ctx context.Context, room, typ, key string, content any) error {
	path := fmt.Sprintf("/_matrix/client/v3/rooms/%s/state/%s/%s", url.PathEscape(room), url.PathEscape(typ), url.PathEscape(key))
	return p.client.do(ctx, http.MethodPut, path, content, nil)
}

// CreateRoom makes a private room of the person's own, with a local alias unless it is empty.
func (p *Person) CreateRoom(ctx context.Context, alias string, invite ...string) (string, error) {
	body := map[string]any{"preset": "private_chat"}
	if len(invite) > 0 { // Synapse fails over a null
		body["invite"] = invite
	}
	if alias != "" {
		body["room_alias_name"] = alias
	}
	var answer struct {
		RoomID string `json:"room_id"`
	}
	err := p.client.do(ctx, http.MethodPost, "/_matrix/client/v3/createRoom", body, &answer)
	return answer.RoomID, err
}

// Upgrade replaces a room by a new one of another version, and returns its id.
func (p *Person) Upgrade(ctx context.Context, room, version string) (string, error) {
	var answer struct {
		RoomID string `json:"replacement_room"`
	}
	path := fmt.Sprintf("/_matrix/client/v3/rooms/%s/upgrade", url.PathEscape(room))
	err := p.client.do(ctx, http.MethodPost, path, map[string]string{"new_version": version}, &answer)
	return answer.RoomID, err
}

// Invite asks somebody into a room.
func (p *Person) Invite(ctx context.Context, room, user string) error {
	path := fmt.Sprintf("/_matrix/client/v3/rooms/%s/invite", url.PathEscape(room))
	return p.client.do(ctx, http.MethodPost, path, map[string]string{"user_id": user}, nil)
}

// Resolve finds the room of an alias.
func (p *Person) Resolve(ctx context.Context, alias string) (string, error) {
	var answer struct {
		RoomID string `json:"room_id"`
	}
	err := p.client.do(ctx, http.MethodGet, "/_matrix/client/v3/directory/room/"+url.PathEscape(alias), nil, &answer)
	return answer.RoomID, err
}

// History reads the whole timeline of a room that the person may see, oldest first, from the homeserver rather than from
// what came by /sync.
func (p *Person) History(ctx context.Context, room string) ([]Event, error) {
	return p.back(ctx, room, "", func(Event) bool { return false })
}

// Download fetches an mxc:// file, at most 32 MiB of it.
func (p *Person) Download(ctx context.Context, mxc string) ([]byte, error) {
	u, err := url.Parse(mxc)
	if err != nil || u.Scheme != "mxc" {
		return nil, fmt.Errorf("%q is not an mxc:// address", mxc)
	}
	var refused *APIError
	for _, base := range []string{"/_matrix/client/v1/media/download/", "/_matrix/media/v3/download/"} {
		data, err := p.client.raw(ctx, http.MethodGet, base+u.Host+u.Path, nil)
		if err == nil {
			return data, nil
		}
		if refused = refusal(err); refused == nil {
			return nil, err
		}
	}
	return nil, refused
}

// Upload stores a file and returns its mxc:// address.
func (p *Person) Upload(ctx context.Context, data io.Reader) (string, error) {
	b, err := p.client.raw(ctx, http.MethodPost, "/_matrix/media/v3/upload", data)
	if err != nil {
		return "", err
	}
	var answer struct {
		URI string `json:"content_uri"`
	}
	return answer.URI, json.Unmarshal(b, &answer)
}

// Devices is how many log-ins the person has.
func (p *Person) Devices(ctx context.Context) (int, error) {
	var answer struct {
		Devices []json.RawMessage `json:"devices"`
	}
	err := p.client.do(ctx, http.MethodGet, "/_matrix/client/v3/devices", nil, &answer)
	return len(answer.Devices), err
}
