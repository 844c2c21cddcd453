package e2ee

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Keys are a person's own cross-signing keys, as one device gives them to another.
type Keys struct {
	Master string `json:"master"`
	Self   string `json:"self"`
	User   string `json:"user"`
}

// CrossSign gives the person cross-signing keys and signs the device with them.
func (d *Device) CrossSign(ctx context.Context) (Keys, error) { return d.crossSign(ctx, nil) }

// CrossSignWith signs the device with keys that another device of the person has.
func (d *Device) CrossSignWith(ctx context.Context, keys Keys) error {
	_, err := d.crossSign(ctx, &keys)
	return err
}

func (d *Device) crossSign(ctx context.Context, keys *Keys) (Keys, error) {
	with := map[string]any{}
	if keys != nil {
		with["keys"] = keys
	}
	var out struct{ Keys Keys }
	err := d.node.do(ctx, d.name, "crossSign", with, &out)
	return out.Keys, err
}

// Trust is what a device holds of a user's keys.
type Trust struct {
	Identity bool   // the user has cross-signing keys
	Verified bool   // and the person has compared them
	Master   string // public master key
	Devices  []struct {
		ID       string
		Name     string
		Signed   bool // by its owner
		Verified bool // and the person has compared the owner's keys
	}
}

// Trust asks the homeserver for a user's keys and says what the device holds of them.
func (d *Device) Trust(ctx context.Context, user string) (Trust, error) {
	var t Trust
	err := d.node.do(ctx, d.name, "trust", map[string]any{"user": user}, &t)
	return t, err
}

// Verification is a comparison of emoji that is under way.
type Verification struct {
	device *Device
	user   string
	flow   string
	start  bool
}

// Step is how far a Verification is.
type Step struct {
	Phase     string
	Emoji     []string // seven, once they can be compared
	Decimals  []int    // three, at the same time
	Done      bool
	Cancelled bool
	Code      string // why it was cancelled
}

// AskInRoom asks a user for a verification by a message in a room.
func (d *Device) AskInRoom(ctx context.Context, user, room string) (*Verification, error) {
	return d.ask(ctx, map[string]any{"user": user, "room": room}, user)
}

// AskDevice asks a user's device for a verification.
func (d *Device) AskDevice(ctx context.Context, user, device string) (*Verification, error) {
	return d.ask(ctx, map[string]any{"user": user, "to": device}, user)
}

func (d *Device) ask(ctx context.Context, with map[string]any, user string) (*Verification, error) {
	var out struct{ Flow string }
	err := d.node.do(ctx, d.name, "askVerification", with, &out)
	return &Verification{device: d, user: user, flow: out.Flow}, err
}

// Asked waits until a user asks the device for a verification.
func (d *Device) Asked(ctx context.Context, user string) (*Verification, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		var out struct{ Flows []string }
		if err := d.node.do(ctx, d.name, "verifications", map[string]any{"user": user}, &out); err != nil {
			return nil, err
		}
		if len(out.Flows) > 0 {
			return &Verification{device: d, user: user, flow: out.Flows[0]}, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("%s was not asked by %s: %w", d.name, user, ctx.Err())
		}
	}
}

// Begin makes this side begin the comparison once both are ready; without it the other side has to.
func (v *Verification) Begin() *Verification {
	v.start = true
	return v
}

// Emoji takes the flow to where the emoji can be compared and returns them.
func (v *Verification) Emoji(ctx context.Context) (Step, error) {
	return v.until(ctx, "emoji", nil, func(s Step) bool { return len(s.Emoji) == 7 })
}

// Confirm says that the emoji agree and returns when both have said so.
func (v *Verification) Confirm(ctx context.Context) error {
	_, err := v.until(ctx, "the end", map[string]any{"confirm": true}, func(s Step) bool { return s.Done })
	return err
}

// Cancel says that the emoji do not agree.
func (v *Verification) Cancel(ctx context.Context) error {
	_, err := v.step(ctx, map[string]any{"cancel": true})
	return err
}

// Cancelled waits until the other side has ended the flow, and returns the code.
func (v *Verification) Cancelled(ctx context.Context) (string, error) {
	s, err := v.until(ctx, "a cancellation", nil, func(s Step) bool { return s.Cancelled })
	return s.Code, err
}

var errCancelled = errors.New("cancelled")

func (v *Verification) until(ctx context.Context, what string, with map[string]any, done func(Step) bool) (Step, error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := v.step(ctx, with)
		switch {
		case err != nil || done(s):
			return s, err
		case s.Cancelled:
			return s, fmt.Errorf("verification of %s by %s, on the way to %s: %w: %s", v.user, v.device.name, what, errCancelled, s.Code)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s, fmt.Errorf("verification of %s by %s never came to %s, it is %s: %w", v.user, v.device.name, what, s.Phase, ctx.Err())
		}
	}
}

func (v *Verification) step(ctx context.Context, with map[string]any) (Step, error) {
	all := map[string]any{"user": v.user, "flow": v.flow, "start": v.start}
	for k, value := range with {
		all[k] = value
	}
	var s Step
	err := v.device.node.do(ctx, v.device.name, "verify", all, &s)
	return s, err
}
