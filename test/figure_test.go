//go:build interop

package test

import (
	"fmt"
	"testing"
)

// figure prints one figure as docs/bench has them; one that misses what it must be fails the test.
func figure(t *testing.T, name string, value any, unit, must string, ok bool) {
	t.Helper()
	verdict := "ok"
	if !ok {
		verdict = "miss"
		t.Errorf("%s: %v %s, must be %s", name, value, unit, must)
	}
	fmt.Printf("figure\t%s\t%v\t%s\t%s\t%s\n", name, value, unit, must, verdict)
}
