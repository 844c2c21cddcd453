//go:build !linux

package turn

const (
	fragmentControl = false // the path can't forbid fragments (DONT-FRAGMENT)
	maxWorkers      = 1
)

// newPath makes the data path of a worker. There is only the portable one.
func newPath(w *worker, _ bool) (path, error) { return newPlainPath(w), nil }

// fastSocket is the part of a socket that Linux's path has.
type fastSocket struct{}
