package gateway

import (
	"context"
	"fmt"

	"github.com/gatepost/gatepost/internal/ids"
)

// KeyCommand is the command that a key of a telephone runs in a call with a device, and whether it is a dangerous one, as
// configuration and announcements have it now; "" none. Who may run it Ask decides. The error is a sentence for people:
// ErrNoCommand when the device has no such command any more. Safe for concurrent use.
func (g *Gateway) KeyCommand(ctx context.Context, device ids.DeviceID, key rune) (name string, dangerous bool, err error) {
	f, _ := g.phones.get(device)
	if name = f.Keys[key]; name == "" {
		return "", false, nil
	}
	type result struct {
		dangerous bool
		err       error
	}
	out := make(chan result, 1)
	err = g.inside(ctx, func(*batch) {
		is, _, err := g.find(ask{device: device, name: name, bang: true})
		if err != nil {
			out <- result{err: fmt.Errorf("the key %c: %w", key, err)}
			return
		}
		out <- result{dangerous: gradeOf(is.Grade) == Dangerous}
	})
	if err != nil {
		return name, false, err
	}
	r := <-out
	return name, r.dangerous, r.err
}
