package harness

import "fmt"

// Reporter is the part of testing.TB that a figure needs.
type Reporter interface {
	Helper()
	Errorf(format string, args ...any)
}

// Figure prints one figure on standard output as docs/bench has them: figure, name, value, unit, what it must be, ok or
// miss, tab-separated. One that misses fails the test.
func Figure(t Reporter, name string, value any, unit, must string, ok bool) {
	t.Helper()
	verdict := "ok"
	if !ok {
		verdict = "miss"
		t.Errorf("%s: %v %s, must be %s", name, value, unit, must)
	}
	fmt.Printf("figure\t%s\t%v\t%s\t%s\t%s\n", name, value, unit, must, verdict)
}

// Note prints a figure that may be anything: it says what the others are about.
func Note(t Reporter, name string, value any, unit string) {
	t.Helper()
	Figure(t, name, value, unit, "-", true)
}

// Zero prints a figure that must be 0.
func Zero(t Reporter, name string, n int, unit string) {
	t.Helper()
	Figure(t, name, n, unit, "0", n == 0)
}

// Equal prints a figure that must be want.
func Equal(t Reporter, name string, n, want int, unit string) {
	t.Helper()
	Figure(t, name, n, unit, fmt.Sprint(want), n == want)
}
