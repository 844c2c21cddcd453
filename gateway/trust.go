package gateway

import (
	"strings"

	"github.com/gatepost/gatepost/gateway/room"
)

// distrusts says why nothing is done for somebody of whose device so much is known; "" when it may be.
func (i identity) distrusts(t room.Trust) string {
	if i.verified && t < room.Verified {
		return "I obey only people whom I have verified, and only what they say in encrypted rooms. Owners can ask me for a verification in their client."
	}
	return ""
}

// confirms says whether a reply is one that confirms the dangerous command that it replies to, as a reaction does which cannot be
// encrypted.
func confirms(text string) bool {
	rest, ok := strings.CutPrefix(text, "✅")
	return ok && strings.Trim(rest, "\ufe0f \n") == ""
}
