//go:build interop

package turn

import (
	"os"
	"testing"

	"github.com/gatepost/gatepost/test/turn/relay"
)

// chosen is the relay that foreign clients are shown: gatepost, or coturn where the environment says so.
func chosen(t *testing.T, o relay.Options) (*relay.Server, error) {
	if os.Getenv("TURN_SERVER") == "coturn" {
		return relay.Coturn(t.Context(), o)
	}
	return gatepost(t, o)
}
