package main

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/gatepost/gatepost/internal/admin"
	"github.com/gatepost/gatepost/turn"
)

// turnControl is what a gatepost with a relay does for the command line; see control.
type turnControl interface {
	// TurnAllocations lists those that live, the oldest first.
	TurnAllocations(ctx context.Context) ([]turnAllocationInfo, error)
	// TurnKick ends allocations and returns how many. None at all is an error.
	TurnKick(ctx context.Context, r turnKickRequest) (int, error)
}

// turnAllocationInfo is an allocation of the relay.
type turnAllocationInfo struct {
	ID          string      `json:"id"`
	User        string      `json:"user"`
	Client      string      `json:"client"`    // address and port
	Transport   string      `json:"transport"` // udp, tcp or tls
	Relayed     []string    `json:"relayed"`   // addresses and ports that peers see
	Since       time.Time   `json:"since"`
	Expires     time.Time   `json:"expires"` // unless it is refreshed
	Permissions int         `json:"permissions"`
	Channels    int         `json:"channels"`
	ToPeer      turnTraffic `json:"to_peer"`
	ToClient    turnTraffic `json:"to_client"`
}

type turnTraffic struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"` // payload
}

// turnKickRequest names allocations, or a user whose all end.
type turnKickRequest struct {
	IDs  []string `json:"ids,omitempty"`
	User *string  `json:"user,omitempty"`
}

const (
	verbTurnAllocations = "turn-allocations"
	verbTurnKick        = "turn-kick"
)

// serveTurnControl registers every verb of c on s. It is called before s runs.
func serveTurnControl(s *admin.Server, c turnControl) {
	handle(s, verbTurnAllocations, func(ctx context.Context, _ nothing) ([]turnAllocationInfo, error) { return c.TurnAllocations(ctx) })
	handle(s, verbTurnKick, func(ctx context.Context, r turnKickRequest) (countedReply, error) {
		n, err := c.TurnKick(ctx, r)
		return countedReply{n}, err
	})
}

// turnController answers with the running relay.
type turnController struct {
	s *turn.Server // nil: there is none
}

func (c turnController) check() error {
	if c.s == nil {
		return &admin.Error{Code: admin.Refused, Text: "this gatepost runs no relay; its configuration has no turn section"}
	}
	return nil
}

func (c turnController) TurnAllocations(context.Context) ([]turnAllocationInfo, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	var out []turnAllocationInfo
	for _, i := range c.s.Allocations() {
		out = append(out, aboutAllocation(i))
	}
	slices.SortFunc(out, func(a, b turnAllocationInfo) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

func aboutAllocation(i turn.AllocationInfo) turnAllocationInfo {
	out := turnAllocationInfo{
		ID: i.ID, User: i.User, Client: i.Client.String(), Transport: i.Transport, Since: i.Since, Expires: i.Expires,
		Permissions: i.Permissions, Channels: i.Channels, ToPeer: turnTraffic(i.ToPeer), ToClient: turnTraffic(i.ToClient),
	}
	for _, r := range i.Relayed {
		out.Relayed = append(out.Relayed, r.String())
	}
	return out
}

func (c turnController) TurnKick(_ context.Context, r turnKickRequest) (int, error) {
	if err := c.check(); err != nil {
		return 0, err
	}
	if (len(r.IDs) > 0) == (r.User != nil) {
		return 0, &admin.Error{Code: admin.BadRequest, Text: "either ids or a user"}
	}
	n, err := c.s.Kick(func(i turn.AllocationInfo) bool {
		return r.User != nil && i.User == *r.User || slices.Contains(r.IDs, i.ID)
	})
	if err == nil && n == 0 {
		return 0, noAllocation
	}
	return n, err
}

var noAllocation = &admin.Error{Code: admin.NotFound, Text: "there is no such allocation"}
