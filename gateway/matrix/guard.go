package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"maunium.net/go/mautrix"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// plainState are the kinds of state that may stand in an encrypted room. State is never encrypted; these say what the
// configuration says, or who and what is in a room.
var plainState = [...]string{
	"m.room.name", kindEncryption, "m.room.power_levels", "m.room.pinned_events", "m.space.child", "m.space.parent",
}

// guard is the last step before the network: nothing readable goes into a room that is encrypted. It looks at every request
// there is, so it holds for ways that are added later, too.
func (c *Client) guard(ctx context.Context, r request, body []byte) error {
	p, ok := r.path.(mautrix.ClientURLPath)
	if !ok || r.method == http.MethodGet || len(p) < 4 || p[1] != "rooms" {
		return nil
	}
	verdict := lane.Dead
	switch p[3] {
	case "send":
		if len(p) > 4 && p[4] == kindEncrypted || r.constant {
			return nil
		}
		verdict = lane.Retry // the room was not encrypted a moment ago: the next try is
	case "state":
		if kind, ok := at(p, 4).(string); ok && slices.Contains(plainState[:], kind) {
			return nil
		}
	case "redact", "invite", "join", "leave", "kick", "ban":
		if !hasField(body, "reason") && (p[3] != "redact" || !hasField(body, "dev.gatepost")) {
			return nil
		}
	}
	in, ok := p[2].(ids.RoomID)
	if !ok {
		return lane.Outcome{Verdict: lane.Dead, Code: codeEncrypted, Reason: fmt.Sprintf("%v is no room", p[2])}
	}
	switch encrypted, err := c.book.encrypted(ctx, in, c.speaker(r.as)); {
	case err != nil:
		return notSent(lane.OutcomeOf(err))
	case encrypted:
		return lane.Outcome{Verdict: verdict, Code: codeEncrypted, Reason: "the room is encrypted, and this would have been readable"}
	}
	return nil
}

func at(p mautrix.ClientURLPath, i int) any {
	if i < len(p) {
		return p[i]
	}
	return nil
}

// hasField tells whether an object has a field.
func hasField(body []byte, field string) bool {
	var o map[string]json.RawMessage
	if len(body) == 0 || json.Unmarshal(body, &o) != nil {
		return len(body) > 0
	}
	_, has := o[field]
	return has
}
