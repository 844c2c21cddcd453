package store

import (
	"errors"
	"fmt"
	"log/slog"
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

// Compact makes the file of the store in a folder, and those of the tables that are there, as small as they can be. No
// process may use them meanwhile (ErrLocked). A crash or an error leaves each file as it was, or done. It gives the size of
// all before and after, in bytes.
func Compact(folder string, tables ...string) (before, after int64, err error) {
	lock, err := lockFolder(folder)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = lock.Close() }() // nothing is written to it
	for _, name := range append([]string{fileName}, tables...) {
		file := filepath.Join(folder, name)
		if _, err := os.Stat(file); name != fileName && errors.Is(err, os.ErrNotExist) {
			continue
		}
		was, is, err := compactFile(file)
		if err != nil {
			return 0, 0, err
		}
		before, after = before+was, after+is
	}
	return before, after, nil
}

func compactFile(file string) (before, after int64, err error) {
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
func compactAtOpen(file string, db *bbolt.DB, maxSize int64, log *slog.Logger) (*bbolt.DB, error) {
	info, err := os.Stat(file)
	stats := db.Stats()
	if err != nil || info.Size() < compactFrom || int64(stats.FreePageN)*int64(db.Info().PageSize) < info.Size()/2 {
		return db, nil
	}
	start := time.Now()
	temp := file + ".new"
	if err := compactTo(temp, db); err != nil {
		log.Warn("store could not be made smaller", logkey.File, file, logkey.Error, err.Error())
		_ = os.Remove(temp) // made again the next time
		return db, nil
	}
	if err := db.Close(); err != nil {
		return nil, fmt.Errorf("store: close: %w", err)
	}
	if err := putInPlace(temp, file); err != nil {
		return nil, fmt.Errorf("store: compact: %w", err)
	}
	log.Info("store made smaller", logkey.File, file, logkey.Bytes, info.Size(), logkey.Took, time.Since(start))
	return openFile(file, maxSize)
}
