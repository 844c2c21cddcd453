package gateway

import (
	"cmp"
	"context"
	"slices"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// Unsupported is something announced that gatepost can't do. It is left out, never done wrong.
type Unsupported struct {
	Device ids.DeviceID // "": a whole announcement, of whatever device
	Name   string       // what it would have been, for people
	Reason string
}

// Unsupported lists what admitted devices announced and gatepost does not support, by device, and then announcements that it
// could not read at all.
func (g *Gateway) Unsupported(ctx context.Context) ([]Unsupported, error) {
	var out []Unsupported
	err := g.inside(ctx, func(*batch) {
		if g.finder == nil {
			return
		}
		for _, id := range g.finder.host.Devices() {
			for _, r := range g.found(id).Is.Refused {
				out = append(out, Unsupported{id, title(r.Name), title(r.Reason)})
			}
		}
		for _, r := range g.finder.host.Refused() {
			out = append(out, Unsupported{"", title(cmp.Or(r.Name, r.Key)), title(r.Reason)})
		}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// maxRefusals is how many of them !status lists.
const maxRefusals = 20

// refusals are lines that say what of a device is not supported.
func refusals(d *convention.Device) (out []string) {
	for _, r := range d.Refused[:min(len(d.Refused), maxRefusals)] {
		out = append(out, oneLine(r.Name+" is not supported: "+r.Reason))
	}
	return slices.Compact(out)
}
