package lifecycle

import "errors"

var (
	// ErrEnded is returned by Group.Run when the Run of a part returned nil although nobody had asked it to stop.
	ErrEnded = errors.New("ended by itself")
	// ErrStuck is returned by Group.Run when a part did not end within its deadline. Its goroutine may still be running:
	// the caller ends the process.
	ErrStuck = errors.New("did not stop in time")
	// ErrCut is returned by Group.Run when it was told not to wait any longer. Parts may still be running.
	ErrCut = errors.New("stop was cut short")
)
