//go:build e2e

package harness

import "testing"

func TestDendrite(t *testing.T) {
	meet(t, func(dir, registration string) (Homeserver, error) { return NewDendrite("../../bin", dir, registration) })
}
