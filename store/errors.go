package store

import "errors"

var (
	// ErrNoSpace is matched by what Commit and Accept return when the disk or the size limit is reached; nothing was
	// written. The caller does not acknowledge its source and tries again after a delete or a pause. The error itself has
	// a method NoSpace() bool that answers true.
	ErrNoSpace = errors.New("store: no space")
	// ErrFatal is matched by what every commit returns after one failed in a way that leaves it unknown what is on the
	// disk. The process must end; the next one reads what is there.
	ErrFatal = errors.New("store: a write failed, the store must be opened again")
	// ErrInvalid is matched by what is returned for a change that can never be stored. Nothing was written.
	ErrInvalid = errors.New("store: invalid")
	// ErrClosed is returned by every method after Close.
	ErrClosed = errors.New("store: closed")
	// ErrNotFound is returned by Retry and Drop for a dead letter that is not there.
	ErrNotFound = errors.New("store: not found")

	// ErrLocked is matched by what Open returns while another process uses the store; its text says which.
	ErrLocked = errors.New("store: in use by another process")
	// ErrCorrupt is matched by what Open returns for a file that cannot be read. A person must restore a backup.
	ErrCorrupt = errors.New("store: file is corrupt")
	// ErrNewer is matched by what Open returns for a file that a newer gatepost wrote. A person must install that one.
	ErrNewer = errors.New("store: written by a newer gatepost")
	// ErrExists is returned by Restore when there is a store already.
	ErrExists = errors.New("store: exists already")

	// errDamaged is what decoding returns for bytes that fail their checksum or make no sense.
	errDamaged = errors.New("store: damaged value")
	// errPanic marks the error that a panic was made into.
	errPanic = errors.New("panic")
)

// noSpace is the error behind ErrNoSpace; it says so by a method for those who may not import this package.
type noSpace struct{ cause string }

func (e noSpace) Error() string      { return ErrNoSpace.Error() + ": " + e.cause }
func (noSpace) Is(target error) bool { return target == ErrNoSpace }
func (noSpace) NoSpace() bool        { return true }
