//go:build interop

package test

import (
	"path/filepath"
	"testing"

	"github.com/gatepost/gatepost/test/harness"
)

// newHomeserver prepares the homeserver of `make interop`.
func newHomeserver(t *testing.T, dir, registration string) harness.Homeserver {
	t.Helper()
	return newSynapse(t, dir, harness.SynapseOptions{Registration: registration})
}

func newSynapse(t *testing.T, dir string, o harness.SynapseOptions) *harness.Synapse {
	t.Helper()
	s, err := harness.NewSynapse(filepath.Join(binaries, "synapse-venv"), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
