package gateway

import (
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/action"
	"github.com/gatepost/gatepost/gateway/card"
	"github.com/gatepost/gatepost/gateway/discovery"
	"github.com/gatepost/gatepost/gateway/media"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// PreviewCard is the status card that a device which announced itself would have at now, and the commands that would be offered
// under it as reactions. conventions are those that f is announced by.
func PreviewCard(f *discovery.Device, conventions []convention.Convention, now time.Time, zone *time.Location) (t card.Text, quick []string) {
	v := card.View{Name: title(f.Is.Name)}
	announcedView(&v, f, false)
	for _, a := range announcedAlarms(f) {
		v.Alarms = append(v.Alarms, oneLine(a.Text))
	}
	return card.Render(v, now, zone), quickWords(announcedActionsOf(f.Is.Commands, conventions))
}

// announcedActionsOf are the commands of a device as they are asked for.
func announcedActionsOf(commands []convention.DeviceCommand, conventions []convention.Convention) (out []*action.Action) {
	for i := range commands {
		c := &commands[i]
		at := slices.IndexFunc(conventions, func(v convention.Convention) bool { return v.Name() == c.From.Convention })
		if at < 0 {
			continue // it is not read any more
		}
		if a, err := action.Announced(c, conventions[at]); err == nil { // else refused when it was announced
			out = append(out, a)
		}
	}
	return out
}

// oneLine is a text as a line of a card.
func oneLine(s string) string {
	text, _ := media.Text([]byte(strings.ReplaceAll(s, "\n", " ")), maxName)
	return text
}
