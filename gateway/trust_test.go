package gateway

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// trusted lets somebody say something from a device of which so much is known.
func (w *world) trusted(user, body string, t room.Trust, to ids.EventID) ids.EventID {
	relation := ""
	if to != "" {
		relation = fmt.Sprintf(`,"m.relates_to":{"m.in_reply_to":{"event_id":%q}}`, to)
	}
	return w.event(room.Event{
		Type: "m.room.message", Sender: ids.UserID(user), Room: "!1", Encrypted: t > room.Untrusted, Trust: t,
		Content: fmt.Appendf(nil, `{"msgtype":"m.text","body":%q%s}`, body, relation),
	})
}

func TestOnlyTheVerifiedAreObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.change = func(c *Config) { c.People.Verified = true }
		w.start([]RuleSpec{door})
		for _, known := range []room.Trust{room.Untrusted, room.Known, room.CrossSigned} {
			w.trusted("@alice:x", "!unlock", known, "")
		}
		if _, err := w.g.Ask(t.Context(), AskRequest{Device: "door", Sender: "@alice:x", Name: "unlock", Via: "a call"}); err == nil {
			t.Error("obeyed somebody in a call")
		}
		if got := w.devices.list(); len(got) != 0 {
			t.Errorf("published %q", got)
		}
		refused := 0
		for _, line := range w.matrix.said() {
			if strings.Contains(line, "whom I have verified") {
				refused++
			}
		}
		if refused == 0 {
			t.Errorf("nobody was told why: %q", w.matrix.said())
		}
		w.trusted("@alice:x", "!unlock", room.Verified, "")
		if got := w.devices.list(); !slices.Equal(got, []string{"door/set UNLOCK 0 false"}) {
			t.Errorf("published %q", got)
		}

		// The second look is a reply from a verified device; a reaction can't be encrypted.
		e := w.trusted("@alice:x", "!open", room.Verified, "")
		w.react("@alice:x", e)
		w.trusted("@alice:x", "✅", room.CrossSigned, e)
		w.trusted("@alice:x", "✅ or not", room.Verified, e)
		if got := w.devices.list(); len(got) != 1 {
			t.Errorf("published %q", got)
		}
		w.trusted("@alice:x", "✅\ufe0f", room.Verified, e)
		if got := w.devices.list(); len(got) != 2 {
			t.Errorf("published %q after a verified second look", got)
		}
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

// What stands outside of the ciphertext is the homeserver's word. It makes no command, no second look, and of an edit no new message.
func TestWhatIsReadableOfAnEncryptedMessage(t *testing.T) {
	for _, require := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.change = func(c *Config) { c.People.Verified = require }
			w.start([]RuleSpec{door})
			says := func(content string, loose bool) ids.EventID {
				return w.event(room.Event{
					Type: "m.room.message", Sender: "@alice:x", Room: "!1", Encrypted: true, Trust: room.Verified, Loose: loose, Content: []byte(content),
				})
			}
			e := says(`{"msgtype":"m.text","body":"!open"}`, false)
			looked := fmt.Sprintf(`{"msgtype":"m.text","body":"✅","m.relates_to":{"m.in_reply_to":{"event_id":%q}}}`, e)
			says(looked, true)
			if got := len(w.devices.list()); (got == 1) == require {
				t.Errorf("require_verified: %v: published %q after a look at what the homeserver says", require, w.devices.list())
			}
			before := len(w.devices.list())
			says(`{"msgtype":"m.text","body":"!unlock","m.new_content":{"msgtype":"m.text","body":"!unlock"}}`, false)
			if got := w.devices.list(); len(got) != before {
				t.Errorf("an edit made %q", got)
			}
			says(looked, false)
			if got := w.devices.list(); len(got) != 1 {
				t.Errorf("published %q after a look", got)
			}
			if err := w.stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAReplyIsASecondLook(t *testing.T) {
	inWorld(t, []RuleSpec{door}, func(w *world) {
		e := w.says("@alice:x", "!1", "!open wide")
		w.trusted("@bob:x", "✅", room.Untrusted, e)
		if got := w.devices.list(); len(got) != 0 {
			t.Errorf("published %q after a look by somebody who may not", got)
		}
		w.trusted("@alice:x", "✅", room.Untrusted, e)
		if got := w.devices.list(); !slices.Equal(got, []string{"door/set OPEN wide 0 false"}) {
			t.Errorf("published %q", got)
		}
	})
}

// Each way to send something, with and without commands.require_verified: does it run?
func TestWhoIsObeyed(t *testing.T) {
	for _, tt := range []struct {
		what               string
		sealed             bool // the room
		encrypted          bool // what was said
		trust              room.Trust
		normally, verified bool
	}{
		{"readable, where nothing is encrypted", false, false, room.Untrusted, true, false},
		{"readable, in an encrypted room", true, false, room.Untrusted, false, false},
		{"readable and said to be verified, in an encrypted room", true, false, room.Verified, false, false},
		{"by a device that is none of the sender's, blacklisted, or gone", true, true, room.Untrusted, false, false},
		{"by a device that nobody signed, or of another identity than at first", true, true, room.Known, true, false},
		{"by a device that its owner signed", true, true, room.CrossSigned, true, false},
		{"by a device of somebody verified", true, true, room.Verified, true, true},
	} {
		for _, require := range []bool{false, true} {
			want := tt.normally
			if require {
				want = tt.verified
			}
			runs := doubtful(room.Event{Encrypted: tt.encrypted, Trust: tt.trust}, room.State{Encrypted: tt.sealed}) == "" && identity{verified: require}.distrusts(tt.trust) == ""
			if runs != want {
				t.Errorf("%s (require_verified: %v): runs %v, want %v", tt.what, require, runs, want)
			}
		}
	}
}
