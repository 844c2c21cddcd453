//go:build (e2e || fault) && !interop

package e2ee

import (
	"testing"

	"github.com/gatepost/gatepost/test/harness"
)

func newHomeserver(t *testing.T, dir, registration string) harness.Homeserver {
	t.Helper()
	d, err := harness.NewDendrite(binaries, dir, registration)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
