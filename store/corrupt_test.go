package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// written makes a store with something of everything in it and closes it.
func written(t testing.TB) (folder string) {
	t.Helper()
	folder = t.TempDir()
	s := open(t, Options{Path: folder})
	for i := range 60 {
		r := event(ids.RoomKey(fmt.Sprint("lane", i%5)), fmt.Sprint(i))
		r.Post.Data = bytes.Repeat([]byte{byte(i)}, i*40)
		commit(t, s, lane.Change{Append: []lane.Record{r}, Put: []lane.Item{{Space: "s", Key: fmt.Sprint(i), Value: []byte("value")}}})
	}
	large := event("lane0", "large")
	large.Post.Data = make([]byte, 30<<10)
	commit(t, s, lane.Change{Append: []lane.Record{large}, Bury: []lane.DeadLetter{{Record: event("lane0", "dead"), Reason: "no"}}})
	if _, err := s.Accept("sync", "pos", []room.Event{{ID: "$a", Content: []byte(`{}`)}, {ID: "$b", Content: []byte(`{}`)}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestTruncatedFileIsCorrupt(t *testing.T) {
	folder := written(t)
	whole := readFile(t, folder)
	m, err := newestMeta(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	inUse := int(m.pages) * int(m.pageSize)
	for _, n := range []int{0, 1, 100, 1023, 4096, 8191, 8192, 12_288, inUse / 2, inUse - 1} {
		writeFile(t, folder, whole[:n])
		if s, err := Open(Options{Path: folder}); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d of %d bytes: %v, %v", n, inUse, s, err)
		}
		if got := readFile(t, folder); !bytes.Equal(got, whole[:n]) {
			t.Errorf("cut to %d bytes: Open changed the file", n)
		}
	}
	writeFile(t, folder, whole[:inUse]) // room that was never used may go
	open(t, Options{Path: folder})
}

func TestMangledMetaPages(t *testing.T) {
	folder := written(t)
	whole := readFile(t, folder)
	for page := range 2 { // either alone is enough, though the other may lack the last commit
		b := bytes.Clone(whole)
		b[page*4096+pageHead+50] ^= 1
		writeFile(t, folder, b)
		s, err := Open(Options{Path: folder})
		if err != nil {
			t.Errorf("meta page %d mangled: %v", page, err)
			continue
		}
		_ = s.Close()
	}
	b := bytes.Clone(whole)
	copy(b[:8192], make([]byte, 8192))
	writeFile(t, folder, b)
	if _, err := Open(Options{Path: folder}); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "restore a backup") {
		t.Errorf("no meta page: %v", err)
	}
	writeFile(t, folder, bytes.Repeat([]byte("not a store. "), 4000))
	if _, err := Open(Options{Path: folder}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a text: %v", err)
	}
}

// TestMangledPagesNeverPanic changes bytes anywhere in the file; Open and Check give an answer each time, and what opens
// can be read and written.
func TestMangledPagesNeverPanic(t *testing.T) {
	folder := written(t)
	whole := readFile(t, folder)
	m, err := newestMeta(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	corrupt, fine := 0, 0
	for range 120 {
		b := bytes.Clone(whole)
		for range 1 + rng.IntN(4) {
			page := rng.IntN(int(m.pages))
			at := page*int(m.pageSize) + rng.IntN(64) // where page and element headers are
			if rng.IntN(3) == 0 {
				at = page*int(m.pageSize) + rng.IntN(int(m.pageSize))
			}
			b[at] = byte(rng.Uint32())
		}
		writeFile(t, folder, b)
		s, err := Open(Options{Path: folder})
		if err != nil {
			if corrupt++; !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrNewer) {
				t.Fatalf("an error of another kind: %v", err)
			}
			continue
		}
		fine++
		for _, l := range s.Lanes() {
			for range 2 {
				r, ok, _, err := s.Take(l.Lane, when(1))
				if err != nil || !ok {
					break
				}
				if err := s.Commit(lane.Change{Finish: []lane.Ref{{Lane: r.Lane, Seq: r.Seq}}}); err != nil {
					break
				}
			}
		}
		_, _ = s.Events(0, 10)
		_, _ = s.DeadLetters(0, 10)
		_ = s.Each("s", "", func(string, []byte) error { return nil })
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := Check(folder); err != nil {
			t.Fatal(err)
		}
	}
	if corrupt < 15 || fine < 15 {
		t.Errorf("%d files were corrupt, %d fine: the test does not test", corrupt, fine)
	}
}

func FuzzCheckPages(f *testing.F) {
	folder := f.TempDir()
	if err := create(filepath.Join(folder, fileName), layOut); err != nil {
		f.Fatal(err)
	}
	whole := readFile(f, folder)
	m, err := newestMeta(bytes.NewReader(whole), int64(len(whole)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole[:int64(m.pages)*int64(m.pageSize)], uint32(16+8), byte(1))
	f.Fuzz(func(_ *testing.T, b []byte, at uint32, to byte) {
		if len(b) > 0 {
			b[int(at)%len(b)] = to
		}
		for pos := 0; pos+pageHead+metaBytes <= len(b) && pos <= 4096; pos += 4096 {
			meta := b[pos+pageHead:]
			sum := fnvSum(meta[:56])
			binary.NativeEndian.PutUint64(meta[56:], sum)
		}
		_ = checkPages(bytes.NewReader(b), int64(len(b)))
	})
}

func TestNewerSchemaIsRefusedAndLeftAlone(t *testing.T) {
	folder := written(t)
	edit(t, folder, func(tx *bbolt.Tx) error { return writeSchema(tx, schemaVersion+1) })
	before := readFile(t, folder)
	if _, err := Open(Options{Path: folder}); !errors.Is(err, ErrNewer) || errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	if !bytes.Equal(before, readFile(t, folder)) {
		t.Error("the file was changed")
	}
	if r, err := Check(folder); err != nil || r.Readable() || !errors.Is(r.Err(), ErrNewer) {
		t.Errorf("Check says %v, %+v", err, r)
	}
}

func TestDamagedSchemaVersionIsCorrupt(t *testing.T) {
	folder := written(t)
	spoil(t, folder, buckets().meta, []byte(keySchema), -1)
	if _, err := Open(Options{Path: folder}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v", err)
	}
}

func TestMigration(t *testing.T) {
	folder := t.TempDir()
	if err := create(filepath.Join(folder, fileName), layOut); err != nil {
		t.Fatal(err)
	}
	// A file as version 0 might have been: without a bucket that version 1 has.
	edit(t, folder, func(tx *bbolt.Tx) error {
		return errors.Join(tx.DeleteBucket(buckets().damaged), writeSchema(tx, 0))
	})
	add := func(tx *bbolt.Tx) error { _, err := tx.CreateBucket(buckets().damaged); return err }
	fail := errors.New("no")
	for _, c := range []struct {
		name  string
		steps map[uint64]migration
		want  error
	}{
		{"no step", nil, ErrCorrupt},
		{"a step that fails half way", map[uint64]migration{0: func(tx *bbolt.Tx) error { return errors.Join(add(tx), fail) }}, fail},
		{"the step", map[uint64]migration{0: add}, nil},
		{"nothing left to do", nil, nil},
	} {
		db, err := openFile(filepath.Join(folder, fileName), 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := migrate(db, c.steps, 1); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	open(t, Options{Path: folder})
}

func TestLocked(t *testing.T) {
	folder := t.TempDir()
	s := open(t, Options{Path: folder})
	for name, try := range map[string]func() error{
		"Open":    func() error { _, err := Open(Options{Path: folder}); return err },
		"Check":   func() error { _, err := Check(folder); return err },
		"Compact": func() error { _, _, err := Compact(folder); return err },
	} {
		err := try()
		if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getpid())) {
			t.Errorf("%s says %v", name, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, Options{Path: folder})
}

func TestFirstCreationInterrupted(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, fileName+".new"), []byte("half of a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	open(t, Options{Path: folder})
	for name, want := range map[string]os.FileMode{"": 0o700, fileName: 0o600, lockName: 0o600} {
		if name == "" {
			continue // made by the test
		}
		info, err := os.Stat(filepath.Join(folder, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	inner := filepath.Join(folder, "made", "here")
	open(t, Options{Path: inner})
	if info, err := os.Stat(inner); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
}

// TestOpenInAnotherProcess runs this test binary once more while the store is open here.
func TestOpenInAnotherProcess(t *testing.T) {
	if folder := os.Getenv("STORE_TEST_FOLDER"); folder != "" {
		if _, err := Open(Options{Path: folder}); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), fmt.Sprint("process ", os.Getppid())) {
			t.Errorf("got %v", err)
		}
		return
	}
	folder := t.TempDir()
	open(t, Options{Path: folder})
	cmd := exec.Command(os.Args[0], "-test.run=^TestOpenInAnotherProcess$")
	cmd.Env = append(os.Environ(), "STORE_TEST_FOLDER="+folder)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]Options{
		"no path":      {},
		"too small":    {Path: "x", MaxSize: 1 << 20},
		"lane too big": {Path: "x", MaxSize: 16 << 20, LaneBytes: 16 << 20},
		"no records":   {Path: "x", LaneRecords: -1},
	} {
		if _, err := Open(o); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
