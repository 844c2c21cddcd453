package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatepost/gatepost/internal/logkey"
)

// tableVersion is the version of what a Table keeps beside the rows of its owner.
const tableVersion = 1

// keyTable is in the bucket of meta: the name of the table, which tells its file from a Store's.
const keyTable = "table"

// TableOptions say where a Table is and what is in it.
type TableOptions struct {
	Path    string   // folder, that of an open Store, whose lock holds for both; made with mode 0700
	Name    string   // of the file in it, mode 0600
	Buckets []string // of rows; those that are not in the file yet are made
	MaxSize int64    // bytes of the file; 0 means 256 MiB, at least 8 MiB
	Log     *slog.Logger
	Now     func() time.Time      // nil means time.Now
	Took    func(seconds float64) // told how long each commit took; nil: nobody
}

// Table is a second kind of file: buckets of rows, in the order of their keys, whose meaning is their owner's. It makes the
// promises of the package: group commit, checksums, bounds. Safe for concurrent use.
type Table struct {
	engine
	rows Rows // the leader's
	ran  []*request
}

// OpenTable opens a table, or makes one. Errors: ErrCorrupt, ErrNewer, ErrInvalid, or what the file system says.
func OpenTable(o TableOptions) (*Table, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	t := &Table{engine: engine{
		file: filepath.Join(o.Path, o.Name), log: o.Log, limit: o.MaxSize - reserve(o.MaxSize), now: o.Now,
		commit: (*bbolt.Tx).Commit, took: o.Took,
	}}
	t.owner, t.rows.t = t, t
	if err := os.MkdirAll(o.Path, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	db, err := openOrCreate(t.file, o.MaxSize, o.Log, func(tx *bbolt.Tx) error { return layOutTable(tx, o.Name) })
	if err != nil {
		return nil, err
	}
	t.db = db
	if err := guard(func() error { return db.Update(func(tx *bbolt.Tx) error { return prepareTable(tx, o) }) }); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	t.measure()
	return t, nil
}

func (o *TableOptions) fill() error {
	if o.MaxSize == 0 {
		o.MaxSize = defaultMaxSize
	}
	switch {
	case o.Path == "" || o.Name == "" || o.Name == fileName || filepath.Base(o.Name) != o.Name:
		return fmt.Errorf("%w: a table in %q named %q", ErrInvalid, o.Path, o.Name)
	case o.MaxSize < minMaxSize || o.MaxSize > math.MaxInt:
		return fmt.Errorf("%w: max size of %d bytes, must be at least %d", ErrInvalid, o.MaxSize, minMaxSize)
	case slices.Contains(o.Buckets, "") || slices.Contains(o.Buckets, string(buckets().meta)) || slices.Contains(o.Buckets, string(buckets().damaged)):
		return fmt.Errorf("%w: buckets %q", ErrInvalid, o.Buckets)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Took == nil {
		o.Took = func(float64) {}
	}
	return nil
}

// layOutTable makes what every table has in an empty file.
func layOutTable(tx *bbolt.Tx, name string) error {
	for _, b := range [][]byte{buckets().meta, buckets().damaged} {
		if _, err := tx.CreateBucket(b); err != nil {
			return err
		}
	}
	if err := tx.Bucket(buckets().meta).Put([]byte(keyTable), seal(nil, []byte(name))); err != nil {
		return err
	}
	return writeSchema(tx, tableVersion)
}

// prepareTable checks what an older or another program may have left, and makes buckets that are missing.
func prepareTable(tx *bbolt.Tx, o TableOptions) error {
	version, err := readSchema(tx)
	if err != nil || tx.Bucket(buckets().damaged) == nil {
		return fmt.Errorf("%w: %s: schema version: %w", ErrCorrupt, o.Name, errDamaged)
	}
	if version > tableVersion {
		return fmt.Errorf("%w: %s has schema %d, this one knows %d; install the gatepost that wrote it", ErrNewer, o.Name, version, tableVersion)
	}
	if name, err := tableName(tx); err != nil || name != o.Name {
		return fmt.Errorf("%w: %s is a file of %q", ErrCorrupt, o.Name, name)
	}
	for _, name := range o.Buckets {
		if _, err := tx.CreateBucketIfNotExists([]byte(name)); err != nil {
			return err
		}
	}
	return nil
}

// tableName is the name of the table in a file; "" when it is a Store's.
func tableName(tx *bbolt.Tx) (string, error) {
	meta := tx.Bucket(buckets().meta)
	if meta == nil {
		return "", errDamaged
	}
	sealed := meta.Get([]byte(keyTable))
	if sealed == nil {
		return "", nil
	}
	name, err := unseal(sealed)
	return string(name), err
}

// TableWork is one thing to be committed, together with what others bring.
type TableWork struct {
	// Work is called with the rows as they are within the transaction, while no other Work is. It may run again when what
	// it ran with was not written. An error means that the rows make no sense: every later commit fails with ErrFatal. nil:
	// nothing is written, Commit only waits for the group that is being committed.
	Work func(*Rows) error
	// Settled is called once after each run of Work that did not fail: with true when its rows are durable, before any later
	// Work; with false when they were not written, in the opposite order of the Works. nil: not called.
	Settled func(ok bool)
	Bytes   int  // about how much it adds
	Relief  bool // it takes away more than it adds, or must be possible without room: let into the part kept free
}

// Commit does w and makes it durable. The errors are those of Store.Commit.
func (t *Table) Commit(w TableWork) error {
	var work func(*bbolt.Tx) error
	if w.Work != nil {
		work = func(*bbolt.Tx) error { return w.Work(&t.rows) }
	}
	r := t.queue.request(work, 1, w.Bytes)
	r.settled, r.relief = w.Settled, w.Relief
	return t.do(r)
}

// View calls f with the rows as they are. f must not call the Table. Damaged rows that it met are set aside afterwards.
func (t *Table) View(f func(*Rows) error) error {
	r := Rows{t: t}
	err := t.view(func(tx *bbolt.Tx) error {
		r.tx = tx
		return f(&r)
	})
	if len(r.damaged) > 0 {
		t.setAside(r.damaged)
	}
	return err
}

// run does the work of a group. Of owner.
func (t *Table) run(tx *bbolt.Tx, group []*request) error {
	t.ran = t.ran[:0]
	t.rows.begin(tx)
	for _, r := range group {
		if err := r.work(tx); err != nil {
			return err
		}
		t.ran = append(t.ran, r)
	}
	return t.rows.putAside()
}

func (t *Table) undo() {
	for _, r := range slices.Backward(t.ran) {
		if r.settled != nil {
			r.settled(false)
		}
	}
}

func (t *Table) settle(group []*request) {
	for _, r := range group {
		if r.settled != nil {
			r.settled(true)
		}
	}
	if n := len(t.rows.damaged); n > 0 {
		t.log.Error("damaged values set aside", logkey.File, t.file, logkey.Count, n)
	}
}

func (t *Table) over() {}

// Close ends the table. It waits for transactions that are going on; what is called later returns ErrClosed.
func (t *Table) Close() error {
	if _, err := t.shut(); err != nil {
		return fmt.Errorf("store: close: %w", err)
	}
	return nil
}

// setAside commits that damaged rows which a reader met are set aside.
func (t *Table) setAside(found []damagedRow) {
	err := t.Commit(TableWork{Relief: true, Work: func(r *Rows) error {
		for _, d := range found {
			r.Get(d.bucket, d.key)
		}
		return nil
	}})
	if err != nil {
		t.log.Error("damaged value cannot be set aside", logkey.File, t.file, logkey.Error, err.Error())
	}
}

// Rows are the rows of a table within one transaction. Each value is in an envelope with a checksum; damaged ones are as if
// they were not there, and are set aside. What Rows returns lives until the transaction ends.
type Rows struct {
	t       *Table
	tx      *bbolt.Tx
	arena   arena
	damaged []damagedRow
}

type damagedRow struct {
	bucket string
	key    []byte
}

func (r *Rows) begin(tx *bbolt.Tx) {
	r.tx, r.damaged = tx, r.damaged[:0]
	r.arena.reset()
}

func (r *Rows) bucket(name string) *bbolt.Bucket {
	b := r.tx.Bucket([]byte(name))
	if b == nil {
		panic("store: no bucket " + name) // of TableOptions; guard makes an error of it
	}
	return b
}

// Get is the value of a key, or nil.
func (r *Rows) Get(bucket string, key []byte) []byte {
	sealed := r.bucket(bucket).Get(key)
	if sealed == nil {
		return nil
	}
	value, err := unseal(sealed)
	if err != nil {
		r.damaged = append(r.damaged, damagedRow{bucket, bytes.Clone(key)})
		return nil
	}
	return value
}

// Put sets the value of a key; both are copied. Only in a Work.
func (r *Rows) Put(bucket string, key, value []byte) error {
	b := r.bucket(bucket)
	b.FillPercent = appendFill // keys mostly grow
	return b.Put(key, r.arena.keep(func(dst []byte) []byte { return seal(dst, value) }))
}

// Delete removes a key, if it is there. Only in a Work.
func (r *Rows) Delete(bucket string, key []byte) error { return r.bucket(bucket).Delete(key) }

// Each calls f for every key from from on (nil: the first), in order, until f returns false. In a Work f must change nothing.
func (r *Rows) Each(bucket string, from []byte, f func(key, value []byte) bool) {
	c := r.bucket(bucket).Cursor()
	for k, sealed := c.Seek(from); k != nil; k, sealed = c.Next() {
		value, err := unseal(sealed)
		if err != nil {
			r.damaged = append(r.damaged, damagedRow{bucket, bytes.Clone(k)})
			continue
		}
		if !f(k, value) {
			return
		}
	}
}

// Keys is Each with the size of the value instead of the value, which is not looked at.
func (r *Rows) Keys(bucket string, from []byte, f func(key []byte, size int) bool) {
	c := r.bucket(bucket).Cursor()
	for k, sealed := c.Seek(from); k != nil; k, sealed = c.Next() {
		if !f(k, max(0, len(sealed)-envelopeBytes)) {
			return
		}
	}
}

// putAside moves what was found damaged away.
func (r *Rows) putAside() error {
	for _, d := range r.damaged {
		b := r.bucket(d.bucket)
		value := b.Get(d.key)
		if value == nil || !unsealed(d.key, value) {
			continue
		}
		if _, err := putAside(r.tx, []byte(d.bucket), d.key, value); err != nil {
			return err
		}
		if err := b.Delete(d.key); err != nil {
			return err
		}
	}
	return nil
}
