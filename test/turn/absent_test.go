//go:build e2e || interop

package turn

import (
	"os"
	"testing"
)

// absent ends a test for which something is not on this machine: in CI that is a failure.
func absent(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("not on this machine: %s", what)
	}
	t.Skipf("not on this machine: %s", what)
}
