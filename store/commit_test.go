package store

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// failing makes the next commit of s fail with err: before the transaction, or after it was written.
func failing(s *Store, err error, written bool) {
	s.commit = func(tx *bbolt.Tx) error {
		s.commit = (*bbolt.Tx).Commit
		if written {
			return errors.Join(tx.Commit(), err)
		}
		return errors.Join(err, tx.Rollback())
	}
}

func TestNoSpaceChangesNothing(t *testing.T) {
	s := open(t, Options{Path: t.TempDir()})
	commit(t, s, lane.Change{
		Put:    []lane.Item{{Space: "s", Key: "k", Value: []byte("old")}},
		Append: []lane.Record{event("a", "1"), event("a", "2"), event("b", "3"), {Lane: "a", ID: "4", Class: lane.State, Key: "k", At: when(1)}},
	})
	taken, ok, _, err := s.Take("a", when(1))
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	before := fmt.Sprint(s.Lanes())
	for _, cause := range []error{
		&os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC},
		fmt.Errorf("file resize error: %s", syscall.ENOSPC), //nolint:errorlint // bbolt does it like this
		syscall.EDQUOT,
	} {
		failing(s, cause, false)
		err = s.Commit(lane.Change{
			Put:    []lane.Item{{Space: "s", Key: "k", Value: []byte("new")}},
			Append: []lane.Record{event("a", "5"), event("c", "6"), {Lane: "a", ID: "7", Class: lane.State, Key: "k", At: when(2)}},
			Finish: []lane.Ref{{Lane: "b", Seq: 3}},
		})
		var told interface{ NoSpace() bool }
		if !errors.Is(err, ErrNoSpace) || !errors.As(err, &told) || !told.NoSpace() {
			t.Fatalf("%v: got %v", cause, err)
		}
		if v, _, _ := s.Get("s", "k"); string(v) != "old" || fmt.Sprint(s.Lanes()) != before {
			t.Fatalf("%v: something changed: %s, %v, was %v", cause, v, s.Lanes(), before)
		}
	}
	if _, ok, _, _ := s.Take("a", when(1)); ok {
		t.Error("the record in flight was forgotten")
	}
	commit(t, s, lane.Change{Finish: []lane.Ref{{Lane: "a", Seq: taken.Seq}}, Append: []lane.Record{event("a", "8")}})
	var got []string
	for {
		r, ok, _, err := s.Take("a", when(1))
		if err != nil || !ok {
			break
		}
		got = append(got, r.ID)
		commit(t, s, lane.Change{Finish: []lane.Ref{{Lane: "a", Seq: r.Seq}}})
	}
	if fmt.Sprint(got) != "[2 4 8]" {
		t.Errorf("the lane then gave %v", got)
	}
}

func TestFailureIsForEver(t *testing.T) {
	for _, c := range []struct {
		name    string
		cause   error
		written bool
		kept    int // records after a restart
	}{
		{"I/O error", syscall.EIO, false, 1},
		{"I/O error after the write", syscall.EIO, true, 2},
		{"no space after the write", syscall.ENOSPC, true, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			folder := t.TempDir()
			s := open(t, Options{Path: folder})
			commit(t, s, lane.Change{Append: []lane.Record{event("a", "1")}})
			failing(s, c.cause, c.written)
			err := s.Commit(lane.Change{Append: []lane.Record{event("a", "2")}})
			if !errors.Is(err, ErrFatal) || errors.Is(err, ErrNoSpace) || !errors.Is(err, c.cause) {
				t.Fatalf("got %v", err)
			}
			for range 2 {
				if err := s.Commit(lane.Change{Put: []lane.Item{{Space: "s", Key: "k"}}}); !errors.Is(err, ErrFatal) {
					t.Errorf("a later commit says %v", err)
				}
			}
			if _, ok, _, err := s.Take("a", when(1)); ok || !errors.Is(err, ErrFatal) {
				t.Errorf("Take says %v, %v", ok, err)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			again := open(t, Options{Path: folder})
			if l := again.Lanes(); len(l) != 1 || l[0].Records != c.kept {
				t.Errorf("after a restart: %v, want %d records", l, c.kept)
			}
		})
	}
}

func TestPanicInCommitIsFatalAndCloseReturns(t *testing.T) {
	s := open(t, Options{Path: t.TempDir()})
	s.commit = func(*bbolt.Tx) error { panic("mangled page") }
	if err := s.Commit(lane.Change{Append: []lane.Record{event("a", "1")}}); !errors.Is(err, ErrFatal) {
		t.Fatalf("got %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// fillUp commits values until there is no room for more.
func fillUp(t *testing.T, s *Store) (n int) {
	t.Helper()
	value := make([]byte, 100<<10)
	for ; n < 1000; n++ {
		err := s.Commit(lane.Change{Put: []lane.Item{{Space: "fill", Key: fmt.Sprintf("%05d", n), Value: value}}})
		if errors.Is(err, ErrNoSpace) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the size limit does not hold")
	return 0
}

func TestFullStoreStillTakesAway(t *testing.T) {
	s := open(t, Options{Path: t.TempDir(), MaxSize: 8 << 20, LaneRecords: 100_000, LaneBytes: 4 << 20})
	var refs []lane.Ref
	for i := range 500 {
		commit(t, s, lane.Change{Append: []lane.Record{event("a", fmt.Sprint(i))}})
		refs = append(refs, lane.Ref{Lane: "a", Seq: uint64(i + 1)})
	}
	n := fillUp(t, s)
	accepted := 0
	for ; accepted < 100; accepted++ {
		e := room.Event{ID: ids.EventID(fmt.Sprint("$", accepted)), Content: []byte(`"` + strings.Repeat("x", 20_000) + `"`)}
		if _, err := s.Accept("sync", fmt.Sprint(accepted), []room.Event{e}); errors.Is(err, ErrNoSpace) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if p, err := s.Position("sync"); accepted == 100 || err != nil || accepted > 0 && p != fmt.Sprint(accepted-1) {
		t.Errorf("%d events accepted without room, position %q, %v", accepted, p, err)
	}
	// The whole lane drains, each record with a small value beside it, as the sender does.
	for i, ref := range refs {
		c := lane.Change{Finish: []lane.Ref{ref}, Put: []lane.Item{{Space: "sent", Key: "last", Value: []byte(fmt.Sprint(i))}}}
		if i%3 == 0 {
			c = lane.Change{Bury: []lane.DeadLetter{{Record: lane.Record{Lane: "a", Seq: ref.Seq, ID: "x", Class: lane.Event}, Reason: "no"}}}
		}
		if err := s.Commit(c); err != nil {
			t.Fatalf("finish %d of a full store: %v", i, err)
		}
	}
	for i := range n {
		if err := s.Commit(lane.Change{Put: []lane.Item{{Space: "fill", Key: fmt.Sprintf("%05d", i)}}}); err != nil {
			t.Fatalf("delete %d in a full store: %v", i, err)
		}
	}
	if again := fillUp(t, s); again < n*9/10 {
		t.Errorf("room for %d values at first, for %d after all were deleted", n, again)
	}
	size, err := s.Size()
	if err != nil || size.File > 8<<20 || size.Used > size.Limit {
		t.Errorf("%v: size %+v", err, size)
	}
}

func TestGroupCommit(t *testing.T) {
	s := open(t, Options{Path: t.TempDir()})
	commits := 0
	hold, held := make(chan struct{}), make(chan struct{})
	s.commit = func(tx *bbolt.Tx) error {
		if commits++; commits == 1 {
			close(held)
			<-hold
		}
		return tx.Commit()
	}
	var wg sync.WaitGroup
	add := func(i int) {
		wg.Go(func() {
			r := event(ids.RoomKey(fmt.Sprint("lane", i%7)), fmt.Sprint(i))
			if err := s.Commit(lane.Change{Append: []lane.Record{r}}); err != nil {
				t.Error(err)
			}
		})
	}
	add(0)
	<-held
	const waiting = 600
	for i := range waiting {
		add(i + 1)
	}
	for deadline := time.Now().Add(10 * time.Second); s.queueLen() < waiting && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	close(hold)
	wg.Wait()
	if want := 1 + (waiting+maxGroupRecords-1)/maxGroupRecords; commits != want {
		t.Errorf("%d commits for one and then %d at once, want %d", commits, waiting, want)
	}
	total := 0
	for _, l := range s.Lanes() {
		total += l.Records
	}
	if total != waiting+1 {
		t.Errorf("%d records", total)
	}
}

func (s *Store) queueLen() int {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	return len(s.queue.waiting)
}

func TestNoSpaceForOneLetsTheOtherTakeAway(t *testing.T) {
	s := open(t, Options{Path: t.TempDir()})
	commit(t, s, lane.Change{Append: []lane.Record{event("a", "1")}})
	hold, held := make(chan struct{}), make(chan struct{})
	commits := 0
	s.commit = func(tx *bbolt.Tx) error {
		switch commits++; commits {
		case 1:
			close(held)
			<-hold
		case 2: // both of the others
			return errors.Join(syscall.ENOSPC, tx.Rollback())
		}
		return tx.Commit()
	}
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Commit(lane.Change{Put: []lane.Item{{Space: "s", Key: "k", Value: []byte("v")}}}) })
	<-held
	var appended, finished error
	wg.Go(func() { appended = s.Commit(lane.Change{Append: []lane.Record{event("a", "2")}}) })
	wg.Go(func() { finished = s.Commit(lane.Change{Finish: []lane.Ref{{Lane: "a", Seq: 1}}}) })
	for deadline := time.Now().Add(10 * time.Second); s.queueLen() < 2 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	close(hold)
	wg.Wait()
	if !errors.Is(appended, ErrNoSpace) || finished != nil || !s.Full() {
		t.Errorf("appended: %v, finished: %v, full: %v", appended, finished, s.Full())
	}
	if l := s.Lanes(); len(l) != 0 {
		t.Errorf("there is %v", l)
	}
	commit(t, s, lane.Change{Append: []lane.Record{event("a", "3")}})
	if s.Full() {
		t.Error("it says full although there is room")
	}
}

func TestLargeChangeGoesAlone(t *testing.T) {
	s := open(t, Options{Path: t.TempDir()})
	big := event("a", "1")
	big.Post.Data = make([]byte, 3*maxGroupBytes)
	commit(t, s, lane.Change{Append: []lane.Record{big}})
	r, ok, _, err := s.Take("a", when(1))
	if err != nil || !ok || len(r.Post.Data) != len(big.Post.Data) {
		t.Errorf("%v, %v: %d bytes came back", ok, err, len(r.Post.Data))
	}
}

func TestInvalidChangeIsRefusedWhole(t *testing.T) {
	s := open(t, Options{Path: t.TempDir()})
	good := event("a", "1")
	for name, c := range map[string]lane.Change{
		"no lane":         {Append: []lane.Record{good, {Class: lane.Event}}},
		"no class":        {Append: []lane.Record{good, {Lane: "a"}}},
		"unknown class":   {Append: []lane.Record{good, {Lane: "a", Class: 9}}},
		"bad digest":      {Append: []lane.Record{good, {Lane: "a", Class: lane.Telemetry, Digest: &lane.Digest{}}}},
		"empty gap":       {Append: []lane.Record{good, {Lane: "a", Class: lane.Event, Gap: &lane.Gap{}}}},
		"too much text":   {Append: []lane.Record{good, {Lane: "a", Class: lane.Event, Post: lane.Post{Text: string(make([]byte, maxText+1))}}}},
		"huge value":      {Append: []lane.Record{good}, Put: []lane.Item{{Space: "a", Key: "k", Value: make([]byte, 65<<20)}}},
		"no space":        {Append: []lane.Record{good}, Put: []lane.Item{{Key: "k"}}},
		"NUL in space":    {Append: []lane.Record{good}, Put: []lane.Item{{Space: "a\x00b", Key: "k"}}},
		"long key":        {Append: []lane.Record{good}, Put: []lane.Item{{Space: "a", Key: string(make([]byte, maxKey+1))}}},
		"bad dead letter": {Append: []lane.Record{good}, Bury: []lane.DeadLetter{{}}},
	} {
		if err := s.Commit(c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if l := s.Lanes(); len(l) != 0 {
		t.Errorf("something was stored: %v", l)
	}
	commit(t, s, lane.Change{}) // nothing is no mistake
}

func TestManyWritersAndReaders(t *testing.T) {
	s := open(t, Options{Path: t.TempDir(), LaneRecords: 50})
	s.OnAppend(func(ids.RoomKey) {})
	var wg sync.WaitGroup
	for w := range 8 {
		key := ids.RoomKey(fmt.Sprint("lane", w%3))
		wg.Go(func() {
			for i := range 60 {
				r := event(key, fmt.Sprint(w, i))
				if i%3 == 0 {
					r.Class, r.Key = lane.Telemetry, "t"
				}
				if err := s.Commit(lane.Change{Append: []lane.Record{r}}); err != nil {
					t.Error(err)
				}
			}
		})
		wg.Go(func() {
			for range 60 {
				r, ok, _, err := s.Take(key, when(1))
				if err != nil {
					t.Error(err)
				}
				if ok && w%2 == 0 {
					s.Release(lane.Ref{Lane: key, Seq: r.Seq})
				} else if ok {
					if err := s.Commit(lane.Change{Finish: []lane.Ref{{Lane: key, Seq: r.Seq}}}); err != nil {
						t.Error(err)
					}
				}
				s.Lanes()
				if _, err := s.Records(key, 10); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestClosedStoreSaysSo(t *testing.T) {
	s := open(t, Options{Path: t.TempDir()})
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(lane.Change{Append: []lane.Record{event("a", "1")}}); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit says %v", err)
	}
	if _, _, _, err := s.Take("a", when(1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Take says %v", err)
	}
	if _, _, err := s.Get("s", "k"); !errors.Is(err, ErrClosed) {
		t.Errorf("Get says %v", err)
	}
}
