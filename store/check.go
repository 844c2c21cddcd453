package store

import (
	"errors"
	"fmt"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// Report is what a check found. Damage of single values does not keep a store from being used.
type Report struct {
	Schema   uint64
	Records  int // that wait in lanes
	Lanes    int
	Values   int      // everything else that was looked at
	Damaged  int      // values that fail their checksum or make no sense
	Aside    int      // values that have been set aside earlier
	Problems []string // at most 100, for people
	fatal    error
}

// Readable says whether the store can be opened.
func (r Report) Readable() bool { return r.fatal == nil }

// Err is nil if nothing at all is wrong.
func (r Report) Err() error {
	if r.fatal == nil && r.Damaged > 0 {
		return fmt.Errorf("%w: %d values", errDamaged, r.Damaged)
	}
	return r.fatal
}

func (r *Report) damage(format string, args ...any) {
	r.Damaged++
	if len(r.Problems) < 100 {
		r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
	}
}

// Check looks at everything in the store of a folder: the pages, and the checksum of every value. No process may use it
// meanwhile (ErrLocked). What is wrong with the content is in the Report; err is about not being able to look.
func Check(folder string) (Report, error) {
	lock, err := lockFolder(folder)
	if err != nil {
		return Report{}, err
	}
	defer func() { _ = lock.Close() }() // nothing is written to it
	return CheckFile(filepath.Join(folder, fileName))
}

// CheckFile is Check for a file that nobody writes, such as a snapshot of WriteTo. The file is not changed.
func CheckFile(path string) (r Report, err error) {
	if err := checkPagesOf(path); err != nil {
		if !errors.Is(err, ErrCorrupt) {
			return r, err
		}
		r.fatal = err
		r.Problems = append(r.Problems, err.Error())
		return r, nil
	}
	o := boltOptions(0)
	o.ReadOnly = true
	db, err := bbolt.Open(path, 0o600, o)
	if err != nil {
		return r, fmt.Errorf("store: open %s: %w", path, err)
	}
	err = guard(func() error {
		return db.View(func(tx *bbolt.Tx) error {
			r.look(tx)
			return nil
		})
	})
	if errors.Is(err, ErrCorrupt) {
		r.fatal, err = err, nil
	}
	return r, errors.Join(err, db.Close())
}

func (r *Report) look(tx *bbolt.Tx) {
	names := buckets()
	if name, err := tableName(tx); err != nil || name != "" {
		r.lookTable(tx)
		return
	}
	version, err := readSchema(tx)
	switch {
	case err != nil:
		r.fatal = fmt.Errorf("%w: schema version: %w", ErrCorrupt, err)
	case version > schemaVersion:
		r.fatal = fmt.Errorf("%w: it has schema %d, this one knows %d", ErrNewer, version, schemaVersion)
	}
	if r.Schema = version; r.fatal != nil {
		r.Problems = append(r.Problems, r.fatal.Error())
		return
	}
	lanes := map[string]bool{}
	for _, name := range names.all() {
		bucket := tx.Bucket(name)
		if bucket == nil {
			r.fatal = fmt.Errorf("%w: bucket %s is missing", ErrCorrupt, name)
			r.Problems = append(r.Problems, r.fatal.Error())
			return
		}
		_ = bucket.ForEach(func(k, v []byte) error { // returns what the function does: nil
			if string(name) == string(names.records) {
				r.Records++
				record, err := decodeRecord(v)
				if _, ok := keySeq(k); !ok || err != nil {
					r.damage("%s %x: damaged", name, k)
					return nil
				}
				lanes[string(record.Lane)] = true
				return nil
			}
			r.Values++
			if bad(name, k, v) {
				r.damage("%s %x: damaged", name, k)
			}
			return nil
		})
	}
	r.Lanes = len(lanes)
	r.Aside = int(tx.Bucket(names.damaged).Sequence())
}

// lookTable is look for the file of a Table.
func (r *Report) lookTable(tx *bbolt.Tx) {
	version, err := readSchema(tx)
	switch {
	case err != nil || tx.Bucket(buckets().damaged) == nil:
		r.fatal = fmt.Errorf("%w: schema version: %w", ErrCorrupt, errDamaged)
	case version > tableVersion:
		r.fatal = fmt.Errorf("%w: it has schema %d, this one knows %d", ErrNewer, version, tableVersion)
	}
	if r.Schema = version; r.fatal != nil {
		r.Problems = append(r.Problems, r.fatal.Error())
		return
	}
	_ = tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error { // returns what the functions do: nil
		return bucket.ForEach(func(k, v []byte) error {
			if r.Values++; unsealed(k, v) {
				r.damage("%s %x: damaged", name, k)
			}
			return nil
		})
	})
	r.Aside = int(tx.Bucket(buckets().damaged).Sequence())
}

// bad says whether a value of a bucket other than that of the records cannot be used.
func bad(bucket, k, v []byte) bool {
	names := buckets()
	_, numbered := keySeq(k)
	switch string(bucket) {
	case string(names.inbox):
		_, ok := decodeEvent(k, v)
		return !ok
	case string(names.dead):
		_, err := decodeDead(0, v)
		return err != nil || !numbered
	case string(names.seenOrder), string(names.damaged):
		return unsealed(k, v) || !numbered
	default:
		return unsealed(k, v)
	}
}
