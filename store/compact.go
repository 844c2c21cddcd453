package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatepost/gatepost/internal/logkey"
)

// A file is made smaller at Open if it is at least so large and more than half of it is not in use.
const compactFrom = 32 << 20

// compactTx is how many bytes one transaction of a compaction writes.
const compactTx = 8 << 20

// Compact makes the file of the store in a folder as small as it can be. No process may use it meanwhile (ErrLocked). A
// crash or an error leaves the old file as it was. It gives the size before and after, in bytes.
func Compact(folder string) (before, after int64, err error) {
	lock, err := lockFolder(folder)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = lock.Close() }() // nothing is written to it
	file := filepath.Join(folder, fileName)
	db, err := openFile(file, 0)
	if err != nil {
		return 0, 0, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return 0, 0, errors.Join(err, db.Close())
	}
	if err := errors.Join(compactTo(file+".new", db), db.Close()); err != nil {
		return 0, 0, fmt.Errorf("store: compact: %w", err)
	}
	if err := putInPlace(file+".new", file); err != nil {
		return 0, 0, fmt.Errorf("store: compact: %w", err)
	}
	now, err := os.Stat(file)
	if err != nil {
		return 0, 0, fmt.Errorf("store: compact: %w", err)
	}
	return info.Size(), now.Size(), nil
}

// compactTo writes what db holds to a new file and makes that durable, but not its name.
func compactTo(temp string, db *bbolt.DB) error {
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	small, err := bbolt.Open(temp, 0o600, boltOptions(0))
	if err != nil {
		return err
	}
	small.AllocSize = allocSize
	return errors.Join(bbolt.Compact(small, db, compactTx), small.Sync(), small.Close())
}

// compactAtOpen makes the file smaller when that is worthwhile and gives the open file, the old one or the new. That it
// could not be made smaller (the disk may be full) is only logged.
func (s *Store) compactAtOpen(db *bbolt.DB) (*bbolt.DB, error) {
	info, err := os.Stat(s.file)
	stats := db.Stats()
	if err != nil || info.Size() < compactFrom || int64(stats.FreePageN)*int64(db.Info().PageSize) < info.Size()/2 {
		return db, nil
	}
	start := time.Now()
	temp := s.file + ".new"
	if err := compactTo(temp, db); err != nil {
		s.log.Warn("store could not be made smaller", logkey.Error, err.Error())
		_ = os.Remove(temp) // made again the next time
		return db, nil
	}
	if err := db.Close(); err != nil {
		return nil, fmt.Errorf("store: close: %w", err)
	}
	if err := putInPlace(temp, s.file); err != nil {
		return nil, fmt.Errorf("store: compact: %w", err)
	}
	s.log.Info("store made smaller", logkey.Bytes, info.Size(), logkey.Took, time.Since(start))
	return openFile(s.file, s.opts.MaxSize)
}
