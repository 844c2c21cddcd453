//go:build !linux

package turn

// fragmentControl says whether a path can forbid fragments (DONT-FRAGMENT).
const fragmentControl = false

// newPath makes the data path of a worker. There is only the portable one.
func newPath(w *worker, _ bool) (path, error) { return newPlainPath(w), nil }

// fastSocket is the part of a socket that Linux's path has.
type fastSocket struct{}
