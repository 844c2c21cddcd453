package store

import (
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/internal/metrics"
)

// Options say where a Store is and how large it may become. Only Path is required.
type Options struct {
	Path        string // folder; made with mode 0700, the file in it (gatepost.db) with 0600
	MaxSize     int64  // bytes of the file; 0 means 256 MiB, at least 8 MiB
	LaneRecords int    // records that may wait in one lane, a tenth of it for alarms only; 0 means 5000
	LaneBytes   int64  // bytes that may wait in one lane, likewise; 0 means 16 MiB or a quarter of MaxSize if that is less
	Log         *slog.Logger
	// Metrics gets the store's metrics; nil none. One Registry takes one Store.
	Metrics *metrics.Registry
	Now     func() time.Time // nil means time.Now
	// OnEvict is called after a commit in which a lane that was full dropped so many messages. It must not block, and must
	// not call the Store. nil: not called.
	OnEvict func(key ids.RoomKey, messages int)
}

// Limits and defaults of Options.
const (
	defaultMaxSize     = 256 << 20
	minMaxSize         = 8 << 20
	defaultLaneRecords = 5000
	defaultLaneBytes   = 16 << 20
	allocSize          = 1 << 20
)

// Store is one open store. Safe for concurrent use.
type Store struct {
	engine
	opts    Options
	lock    *os.File
	metrics *meters
	bounds  lane.Bounds
	seed    maphash.Seed
	wake    atomic.Pointer[func(ids.RoomKey)]
	batch   batch // the leader's

	// mu guards what follows. It is taken after no other lock of the package but closing, and never held while a
	// transaction is written.
	mu      sync.Mutex
	idle    sync.Cond // the lanes that a commit changed are settled
	lanes   map[ids.RoomKey]*index
	lastSeq uint64
	dead    deadCount
	damaged int
}

// Open opens the store in a folder, or makes one. Errors: ErrLocked, ErrCorrupt, ErrNewer, or what the file system says.
func Open(o Options) (*Store, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	s := &Store{
		opts: o, seed: maphash.MakeSeed(), bounds: lane.MakeBounds(o.LaneRecords, o.LaneBytes),
		engine: engine{
			file: filepath.Join(o.Path, fileName), log: o.Log, limit: o.MaxSize - reserve(o.MaxSize), now: o.Now,
			commit: (*bbolt.Tx).Commit,
		},
	}
	s.owner, s.idle.L = s, &s.mu
	s.took = func(seconds float64) { s.metrics.commitSeconds.Observe(seconds) }
	if err := os.MkdirAll(o.Path, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	lock, err := lockFolder(o.Path)
	if err != nil {
		return nil, err
	}
	s.lock = lock
	if err := s.open(); err != nil {
		_ = lock.Close() // nothing is written to it
		return nil, err
	}
	return s, nil
}

func (o *Options) fill() error {
	if o.Path == "" {
		return fmt.Errorf("%w: Options.Path is empty", ErrInvalid)
	}
	if o.MaxSize == 0 {
		o.MaxSize = defaultMaxSize
	}
	if o.LaneRecords == 0 {
		o.LaneRecords = defaultLaneRecords
	}
	if o.LaneBytes == 0 {
		o.LaneBytes = min(defaultLaneBytes, o.MaxSize/4)
	}
	if o.MaxSize < minMaxSize || o.MaxSize > math.MaxInt {
		return fmt.Errorf("%w: max size of %d bytes, must be at least %d", ErrInvalid, o.MaxSize, minMaxSize)
	}
	if o.LaneRecords < 1 || o.LaneBytes < 64<<10 || o.LaneBytes > o.MaxSize/2 {
		return fmt.Errorf("%w: lanes of %d records and %d bytes", ErrInvalid, o.LaneRecords, o.LaneBytes)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// reserve is how much of the file is kept free for commits that take away: bbolt writes pages anew before it frees the old
// ones, and grows the file in steps of allocSize.
func reserve(maxSize int64) int64 { return allocSize + min(max(maxSize/16, 2<<20), 16<<20) }

func (s *Store) open() error {
	db, err := openOrCreate(s.file, s.opts.MaxSize, s.log, layOut)
	if err != nil {
		return err
	}
	s.db = db
	if err := guard(s.start); err != nil {
		return errors.Join(err, db.Close())
	}
	return nil
}

// openOrCreate opens a file, or makes one with what layOut puts into it. A file that is mostly empty is made smaller.
func openOrCreate(file string, maxSize int64, log *slog.Logger, layOut func(*bbolt.Tx) error) (*bbolt.DB, error) {
	switch _, err := os.Stat(file); {
	case errors.Is(err, os.ErrNotExist):
		if err := create(file, layOut); err != nil {
			return nil, fmt.Errorf("store: create %s: %w", file, err)
		}
	case err != nil:
		return nil, fmt.Errorf("store: %w", err)
	}
	db, err := openFile(file, maxSize)
	if err != nil {
		return nil, err
	}
	return compactAtOpen(file, db, maxSize, log)
}

// start brings the file to the newest schema and builds what is kept in memory.
func (s *Store) start() error {
	if err := migrate(s.db, migrations(), schemaVersion); err != nil {
		return err
	}
	var damaged [][]byte
	if err := s.db.View(func(tx *bbolt.Tx) (err error) {
		damaged, err = s.load(tx)
		return err
	}); err != nil {
		return err
	}
	s.metrics = newMeters(s.opts.Metrics, s)
	s.metrics.recount(s.lanes)
	s.metrics.deadLetters.Set(float64(s.dead.n))
	s.measure()
	s.setDamagedAside(damaged)
	return nil
}

// create makes a new file under another name first, since a half made one could not be opened.
func create(file string, layOut func(*bbolt.Tx) error) error {
	temp := file + ".new"
	if err := os.Remove(temp); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := bbolt.Open(temp, 0o600, boltOptions(0))
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(layOut), db.Sync(), db.Close()); err != nil {
		return err
	}
	return putInPlace(temp, file)
}

// putInPlace renames a file that is fsynced and makes the new name durable.
func putInPlace(temp, file string) error {
	if err := os.Rename(temp, file); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(file))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// boltOptions are bbolt's, as measured. The file is mapped at its largest from the start, so that a reader never makes a
// writer wait for a new mapping.
func boltOptions(maxSize int64) *bbolt.Options {
	mapped := maxSize
	if strconv.IntSize == 32 {
		mapped = min(mapped, 256<<20)
	}
	return &bbolt.Options{
		Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
		MaxSize: int(maxSize), InitialMmapSize: int(mapped),
	}
}

// openFile opens a file that exists, after a look at its pages.
func openFile(path string, maxSize int64) (db *bbolt.DB, err error) {
	if err := checkPagesOf(path); err != nil {
		return nil, err
	}
	err = guard(func() error {
		db, err = bbolt.Open(path, 0o600, boltOptions(maxSize))
		return err
	})
	switch {
	case errors.Is(err, berrors.ErrTimeout):
		return nil, fmt.Errorf("%w: %s is locked; stop what uses it", ErrLocked, path)
	case errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return nil, fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	case err != nil:
		return nil, fmt.Errorf("store: open %s: %w", path, err)
	}
	db.AllocSize = allocSize
	return db, nil
}

// checkPagesOf is checkPages for a file by name; what it finds is ErrCorrupt.
func checkPagesOf(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := checkPages(f, info.Size()); err != nil {
		return fmt.Errorf("%w: %s: %w; restore a backup", ErrCorrupt, path, err)
	}
	return nil
}

// Close ends the store. It waits for transactions that are going on; what is called later returns ErrClosed.
func (s *Store) Close() error {
	was, err := s.shut()
	if !was {
		return nil
	}
	if err := errors.Join(err, s.lock.Close()); err != nil {
		s.log.Error("closing the store failed", logkey.Error, err.Error())
		return fmt.Errorf("store: close: %w", err)
	}
	return nil
}
