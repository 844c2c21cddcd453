//go:build fault

package fault

import (
	"fmt"
	"testing"
)

// figure prints one figure; one that misses what it must be fails the test.
func figure(t *testing.T, name string, value any, unit, must string, ok bool) {
	t.Helper()
	verdict := "ok"
	if !ok {
		verdict = "miss"
		t.Errorf("%s: %v %s, must be %s", name, value, unit, must)
	}
	fmt.Printf("figure\t%s\t%v\t%s\t%s\t%s\n", name, value, unit, must, verdict)
}

// note prints a figure that may be anything: it says what the others are about.
func note(t *testing.T, name string, value any, unit string) {
	t.Helper()
	figure(t, name, value, unit, "-", true)
}

func zero(t *testing.T, name string, n int, unit string) {
	t.Helper()
	figure(t, name, n, unit, "0", n == 0)
}

func equal(t *testing.T, name string, n, want int, unit string) {
	t.Helper()
	figure(t, name, n, unit, fmt.Sprint(want), n == want)
}
