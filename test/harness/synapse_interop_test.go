//go:build interop

package harness

import "testing"

func TestSynapse(t *testing.T) {
	meet(t, func(dir, registration string) (Homeserver, error) {
		return NewSynapse("../../bin/synapse-venv", dir, SynapseOptions{Registration: registration})
	})
}
