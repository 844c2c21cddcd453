package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/admin"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/store"
	"github.com/gatepost/gatepost/voip"
)

// callInfo is one call, live or over.
type callInfo struct {
	Device    string    `json:"device"`
	Person    string    `json:"person"`
	Direction string    `json:"direction"` // in: the person called; out: the device did
	State     string    `json:"state"`     // preparing, inviting, ringing, connecting, connected, or over
	Reason    string    `json:"reason,omitempty"`
	Began     time.Time `json:"began"`
	Rang      string    `json:"rang,omitempty"`          // until the answer or the end
	Talked    string    `json:"talked,omitempty"`        // from the answer to the end
	Media     *carried  `json:"media,omitempty"`         // through the gateway; nil when the device does its own
	Relayed   uint64    `json:"relayed_bytes,omitempty"` // by our relay, under the call's credentials, both ways
}

func direction(r voip.Role) string {
	if r == voip.Caller {
		return "out"
	}
	return "in"
}

const verbCalls = "calls"

func (a *app) callsCommand() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "calls",
		Short: "List live calls and recent ones",
		Long:  "List the calls that are live, and the last 200 that are over, the latest first.",
		Args:  args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			var all []callInfo
			if err := a.ask(verbCalls, nil, &all); err != nil {
				return err
			}
			now := time.Now()
			head := append([]string{"BEGAN", "DEVICE", "PERSON", "WAY", "STATE", "RANG", "TALKED"}, append(mediaHeads(), "RELAYED")...)
			return list(a, all, "Nobody has called yet.", head,
				func(c callInfo) []string {
					state := c.State
					if c.Reason != "" {
						state += ": " + c.Reason
					}
					relayed := ""
					if c.Relayed > 0 {
						relayed = size(int64(c.Relayed)) //nolint:gosec // bytes of one call
					}
					return append([]string{age(now, c.Began), c.Device, c.Person, c.Direction, state, c.Rang, c.Talked}, append(c.Media.columns(), relayed)...)
				})
		},
	})
}

// serveCalls registers the verb. It is called before s runs.
func serveCalls(s *admin.Server, c interface{ List() []callInfo }) {
	handle(s, verbCalls, func(context.Context, nothing) ([]callInfo, error) { return c.List(), nil })
}

const (
	spaceCallLog = "call_log" // calls that are over, by ULID
	maxCallLog   = 200
)

// callLog keeps the last calls. Safe for concurrent use.
type callLog struct {
	store *store.Store
	mu    sync.Mutex
	keys  []string // oldest first
	calls []callInfo
}

func loadCallLog(s *store.Store) (*callLog, error) {
	l := &callLog{store: s}
	err := s.Each(spaceCallLog, "", func(key string, value []byte) error {
		var c callInfo
		if err := json.Unmarshal(value, &c); err != nil {
			return fmt.Errorf("call %q in the store: %w", key, err)
		}
		l.keys, l.calls = append(l.keys, key), append(l.calls, c)
		return nil
	})
	return l, err
}

// add records a call that is over. What the store does not take is still listed until the process ends.
func (l *callLog) add(c callInfo, now time.Time) error {
	v, err := json.Marshal(c)
	if err != nil {
		return err
	}
	l.mu.Lock()
	key := ids.NewULID(now)
	put := []lane.Item{{Space: spaceCallLog, Key: key, Value: v}}
	l.keys, l.calls = append(l.keys, key), append(l.calls, c)
	for len(l.keys) > maxCallLog {
		put = append(put, lane.Item{Space: spaceCallLog, Key: l.keys[0]})
		l.keys, l.calls = l.keys[1:], l.calls[1:]
	}
	l.mu.Unlock()
	return l.store.Commit(lane.Change{Put: put})
}

// list is what is kept, the latest first.
func (l *callLog) list() []callInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := slices.Clone(l.calls)
	slices.Reverse(out)
	return out
}

// ended is a call that is over.
func ended(device ids.DeviceID, s voip.Summary, m *carried) callInfo {
	c := callInfo{
		Device: string(device), Person: string(s.Person), Direction: direction(s.Role), State: "over", Reason: string(s.Reason),
		Began: s.Began, Rang: s.Rang.Round(time.Second).String(), Media: m,
	}
	if s.Talked > 0 {
		c.Talked = s.Talked.Round(time.Second).String()
	}
	return c
}

// live is a call that goes on.
func live(device ids.DeviceID, r voip.Record, m *carried) callInfo {
	return callInfo{Device: string(device), Person: string(r.Person), Direction: direction(r.Role), State: string(r.State), Began: r.Began, Media: m}
}
