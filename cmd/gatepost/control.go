package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/gatepost/gatepost/internal/admin"
)

// control is what a running gateway does for the command line, through the control socket. Safe for concurrent use. An
// error that is an *admin.Error says by its code whether the request was wrong, named something that is not there, or may
// not be done; any other error is a failure of ours. Lists are in a fixed order and may be nil.
type control interface {
	Devices(ctx context.Context) ([]deviceInfo, error)
	// Unmatched lists recent topics that no rule wants, the latest first.
	Unmatched(ctx context.Context) ([]unmatchedInfo, error)
	// Unsupported lists what devices announced and gatepost can't do.
	Unsupported(ctx context.Context) ([]unsupportedInfo, error)
	// RemoveDevice forgets a device. Its room is archived and keeps its history; a rule that still matches makes it anew.
	RemoveDevice(ctx context.Context, id string) error
	// Proposals lists the devices that are not admitted, those that wait for a decision first.
	Proposals(ctx context.Context) ([]proposalInfo, error)
	// Decide admits, ignores or blocks one, and says in words what came of it.
	Decide(ctx context.Context, device, decision string) (string, error)
	Rooms(ctx context.Context) ([]roomInfo, error)
	// Commands lists those that are not over, and recent ones, the latest first.
	Commands(ctx context.Context, which commandsRequest) ([]commandInfo, error)
	// Alarms lists those that are raised.
	Alarms(ctx context.Context) ([]alarmInfo, error)
	Outbox(ctx context.Context) ([]laneInfo, error)
	DeadLetters(ctx context.Context) ([]deadLetterInfo, error)
	DeadLetter(ctx context.Context, number uint64) (deadLetterInfo, error)
	// RetryDeadLetters puts dead letters back to the end of their lanes, DropDeadLetters deletes them; both return how
	// many. A number that does not exist is an error; those before it are done.
	RetryDeadLetters(ctx context.Context, which letters) (int, error)
	DropDeadLetters(ctx context.Context, which letters) (int, error)
	// Send posts text as the device; it returns when that is committed to the outbox.
	Send(ctx context.Context, device, text string) error
	// RunCommand runs a command as an owner would and returns its state when it is over, waits for the device's
	// confirmation, or ctx ends.
	RunCommand(ctx context.Context, device, name string, args []string) (commandInfo, error)
	// Backup writes a whole backup (see writeBackup) to w.
	Backup(ctx context.Context, w io.Writer) error
}

// deviceInfo is one device.
type deviceInfo struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	Rule      string    `json:"rule,omitempty"`      // the topic of its rule; "" when there is none any more
	Announced bool      `json:"announced,omitempty"` // by itself
	Room      string    `json:"room"`                // room key
	RoomID    string    `json:"room_id,omitempty"`
	User      string    `json:"user,omitempty"`
	LastSeen  time.Time `json:"last_seen,omitzero"`
}

// unmatchedInfo is a topic that no rule wants.
type unmatchedInfo struct {
	Topic    string    `json:"topic"`
	Messages int       `json:"messages"`
	Bytes    int       `json:"bytes"` // of the last payload
	LastSeen time.Time `json:"last_seen"`
}

// unsupportedInfo is something announced that gatepost can't do.
type unsupportedInfo struct {
	Device string `json:"device,omitempty"` // "": a whole announcement
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// roomInfo is a room or a space.
type roomInfo struct {
	Key    string `json:"key"`
	RoomID string `json:"room_id,omitempty"` // "" until it is made
	Alias  string `json:"alias,omitempty"`
	Name   string `json:"name"`
	State  string `json:"state"` // "ready", or what is being done or in the way
}

// commandInfo is one command.
type commandInfo struct {
	ID     string    `json:"id"`
	Device string    `json:"device"`
	Name   string    `json:"name"`
	Args   []string  `json:"args,omitempty"`
	User   string    `json:"user,omitempty"` // who asked; "" the command line
	State  string    `json:"state"`          // received, refused, waiting, queued, withdrawn, published, confirmed, failed, expired, unknown
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at"`            // when it was asked for
	Since  time.Time `json:"since"`         // when it reached its state
	Via    string    `json:"via,omitempty"` // by which other means than a message User asked
	Grade  string    `json:"grade,omitempty"`
	// Changes are the states it came to, in order; of many the first ones and the latest.
	Changes []changeInfo `json:"changes,omitempty"`
}

// changeInfo is one step of a command's way.
type changeInfo struct {
	State string    `json:"state"`
	At    time.Time `json:"at"`
}

// laneInfo is what waits to be sent to one room.
type laneInfo struct {
	Lane    string         `json:"lane"` // room key
	Records int            `json:"records"`
	Bytes   int64          `json:"bytes"`
	Classes map[string]int `json:"classes"` // records by alarm, event, state, telemetry
	Oldest  time.Time      `json:"oldest,omitzero"`
	Wait    string         `json:"wait,omitempty"` // why nothing is being sent, "" when something is
}

// deadLetterInfo is a record that will not be sent.
type deadLetterInfo struct {
	Number uint64            `json:"number"`
	Lane   string            `json:"lane"`
	ID     string            `json:"id"`
	Device string            `json:"device,omitempty"`
	Class  string            `json:"class"`
	Kind   string            `json:"kind"`
	Topic  string            `json:"topic,omitempty"`
	Reason string            `json:"reason"`
	At     time.Time         `json:"at"`      // when the message reached us
	DeadAt time.Time         `json:"dead_at"` // when it was given up
	Text   string            `json:"text,omitempty"`
	Values map[string]string `json:"values,omitempty"`
	MIME   string            `json:"mime,omitempty"`
	Bytes  int               `json:"bytes,omitempty"` // of the media
}

// letters says which dead letters are meant: all of them, or those with the numbers.
type letters struct {
	All     bool     `json:"all,omitempty"`
	Numbers []uint64 `json:"numbers,omitempty"`
}

// The requests of verbs that need to be told something.
type (
	deviceRequest struct {
		Device string `json:"device"`
	}
	letterRequest struct {
		Number uint64 `json:"number"`
	}
	sendRequest struct {
		Device string `json:"device"`
		Text   string `json:"text"`
	}
	commandRequest struct {
		Device string   `json:"device"`
		Name   string   `json:"name"`
		Args   []string `json:"args,omitempty"`
	}
	commandsRequest struct {
		Device string    `json:"device,omitempty"` // "": all
		Since  time.Time `json:"since,omitzero"`   // asked for, or changed, no earlier
	}
	nothing      struct{}
	countedReply struct {
		Count int `json:"count"`
	}
)

// The names of the verbs.
const (
	verbDevices      = "devices"
	verbUnmatched    = "unmatched"
	verbUnsupported  = "unsupported"
	verbRemoveDevice = "remove-device"
	verbProposals    = "proposals"
	verbDecide       = "decide"
	verbRooms        = "rooms"
	verbCommands     = "commands"
	verbAlarms       = "alarms"
	verbOutbox       = "outbox"
	verbDeadLetters  = "dead-letters"
	verbDeadLetter   = "dead-letter"
	verbRetry        = "retry-dead-letters"
	verbDrop         = "drop-dead-letters"
	verbSend         = "send"
	verbRunCommand   = "run-command"
	verbBackup       = "backup"
)

// serveControl registers every verb of c on s. It is called before s runs.
func serveControl(s *admin.Server, c control) {
	handle(s, verbDevices, func(ctx context.Context, _ nothing) ([]deviceInfo, error) { return c.Devices(ctx) })
	handle(s, verbUnsupported, func(ctx context.Context, _ nothing) ([]unsupportedInfo, error) { return c.Unsupported(ctx) })
	handle(s, verbUnmatched, func(ctx context.Context, _ nothing) ([]unmatchedInfo, error) { return c.Unmatched(ctx) })
	handle(s, verbRemoveDevice, func(ctx context.Context, r deviceRequest) (nothing, error) {
		return nothing{}, c.RemoveDevice(ctx, r.Device)
	})
	handle(s, verbProposals, func(ctx context.Context, _ nothing) ([]proposalInfo, error) { return c.Proposals(ctx) })
	handle(s, verbDecide, func(ctx context.Context, r decideRequest) (decideReply, error) {
		text, err := c.Decide(ctx, r.Device, r.Decision)
		return decideReply{text}, err
	})
	handle(s, verbRooms, func(ctx context.Context, _ nothing) ([]roomInfo, error) { return c.Rooms(ctx) })
	handle(s, verbCommands, func(ctx context.Context, r commandsRequest) ([]commandInfo, error) { return c.Commands(ctx, r) })
	handle(s, verbAlarms, func(ctx context.Context, _ nothing) ([]alarmInfo, error) { return c.Alarms(ctx) })
	handle(s, verbOutbox, func(ctx context.Context, _ nothing) ([]laneInfo, error) { return c.Outbox(ctx) })
	handle(s, verbDeadLetters, func(ctx context.Context, _ nothing) ([]deadLetterInfo, error) { return c.DeadLetters(ctx) })
	handle(s, verbDeadLetter, func(ctx context.Context, r letterRequest) (deadLetterInfo, error) {
		return c.DeadLetter(ctx, r.Number)
	})
	handle(s, verbRetry, func(ctx context.Context, which letters) (countedReply, error) {
		n, err := c.RetryDeadLetters(ctx, which)
		return countedReply{n}, err
	})
	handle(s, verbDrop, func(ctx context.Context, which letters) (countedReply, error) {
		n, err := c.DropDeadLetters(ctx, which)
		return countedReply{n}, err
	})
	handle(s, verbSend, func(ctx context.Context, r sendRequest) (nothing, error) {
		return nothing{}, c.Send(ctx, r.Device, r.Text)
	})
	handle(s, verbRunCommand, func(ctx context.Context, r commandRequest) (commandInfo, error) {
		return c.RunCommand(ctx, r.Device, r.Name, r.Args)
	})
	s.HandleStream(verbBackup, func(ctx context.Context, _ json.RawMessage, w io.Writer) error { return c.Backup(ctx, w) })
}

// serveWithoutMatrix registers the verbs of a gateway without a matrix section: there is a backup, and nothing to list.
func serveWithoutMatrix(s *admin.Server, backup func(context.Context, io.Writer) error) {
	for _, verb := range []string{
		verbDevices, verbUnmatched, verbUnsupported, verbRemoveDevice, verbProposals, verbDecide, verbRooms, verbCommands, verbAlarms, verbOutbox, verbDeadLetters, verbDeadLetter,
		verbRetry, verbDrop, verbSend, verbRunCommand, verbCalls,
	} {
		s.Handle(verb, func(context.Context, json.RawMessage) (any, error) {
			return nil, &admin.Error{Code: admin.Refused, Text: "this gatepost runs without a matrix section: it has no devices, rooms, commands or calls"}
		})
	}
	s.HandleStream(verbBackup, func(ctx context.Context, _ json.RawMessage, w io.Writer) error { return backup(ctx, w) })
}

// handle registers f with its request decoded strictly; no body is the zero request.
func handle[In, Out any](s *admin.Server, verb string, f func(context.Context, In) (Out, error)) {
	s.Handle(verb, func(ctx context.Context, body json.RawMessage) (any, error) {
		var in In
		if body != nil {
			dec := json.NewDecoder(bytes.NewReader(body))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&in); err != nil {
				return nil, &admin.Error{Code: admin.BadRequest, Text: verb + ": " + err.Error()}
			}
		}
		return f(ctx, in)
	})
}

// outcome is an error when the command has ended, and not well.
func (c commandInfo) outcome() error {
	switch c.State {
	case "refused", "failed", "expired", "unknown", "withdrawn":
		text := c.Name + ": " + c.State
		if c.Reason != "" {
			text += ": " + c.Reason
		}
		return errors.New(text)
	default:
		return nil
	}
}
