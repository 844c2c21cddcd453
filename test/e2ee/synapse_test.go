//go:build interop

package e2ee

import (
	"path/filepath"
	"testing"

	"github.com/gatepost/gatepost/test/harness"
)

func newHomeserver(t *testing.T, dir, registration string) harness.Homeserver {
	t.Helper()
	s, err := harness.NewSynapse(filepath.Join(binaries, "synapse-venv"), dir, harness.SynapseOptions{Registration: registration})
	if err != nil {
		t.Fatal(err)
	}
	return s
}
