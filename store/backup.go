package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// WriteTo writes a snapshot of the whole file to w: one that CheckFile can check and Restore (of a Store) can put in place.
// Commits go on meanwhile, but the file grows with them until it returns, so w should be a local file. Safe for concurrent
// use.
func (e *engine) WriteTo(w io.Writer) (n int64, err error) {
	err = e.view(func(tx *bbolt.Tx) error {
		n, err = tx.WriteTo(w)
		return err
	})
	return n, err
}

// Restore makes a store in a folder out of a snapshot that WriteTo wrote, after checking it. ErrExists when there is a
// store in the folder already; it is for a person to move that away.
func Restore(folder, snapshot string) error {
	report, err := CheckFile(snapshot)
	if err != nil {
		return err
	}
	if !report.Readable() {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, snapshot, report.Err())
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return fmt.Errorf("store: restore: %w", err)
	}
	lock, err := lockFolder(folder)
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }() // nothing is written to it
	file := filepath.Join(folder, fileName)
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: %s", ErrExists, file)
	}
	temp := file + ".new"
	if err := copyFile(temp, snapshot); err != nil {
		return fmt.Errorf("store: restore: %w", err)
	}
	if err := putInPlace(temp, file); err != nil {
		return fmt.Errorf("store: restore: %w", err)
	}
	return nil
}

// copyFile copies a file and makes the copy durable, but not its name.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }() // only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// Size says how much room the store takes, in bytes.
type Size struct {
	File  int64 // of the file
	Used  int64 // of it in use; the rest is used again before the file grows
	Limit int64 // of Used, beyond which only what takes away is let in
}
