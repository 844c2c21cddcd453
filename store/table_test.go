package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"
)

func openTable(t testing.TB, o TableOptions) *Table {
	t.Helper()
	if o.Name == "" {
		o.Name = "t.db"
	}
	if o.Buckets == nil {
		o.Buckets = []string{"a", "b"}
	}
	table, err := OpenTable(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = table.Close() })
	return table
}

func putRow(t testing.TB, table *Table, bucket, key, value string) error {
	t.Helper()
	return table.Commit(TableWork{Bytes: len(value), Work: func(r *Rows) error {
		return r.Put(bucket, []byte(key), []byte(value))
	}})
}

// rowsOf lists a bucket as key=value.
func rowsOf(t testing.TB, table *Table, bucket string) (all []string) {
	t.Helper()
	err := table.View(func(r *Rows) error {
		r.Each(bucket, nil, func(k, v []byte) bool {
			all = append(all, fmt.Sprintf("%s=%s", k, v))
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTableKeepsRows(t *testing.T) {
	folder := t.TempDir()
	table := openTable(t, TableOptions{Path: folder})
	for _, k := range []string{"2", "1", "3"} {
		if err := putRow(t, table, "a", k, "v"+k); err != nil {
			t.Fatal(err)
		}
	}
	err := table.Commit(TableWork{Work: func(r *Rows) error {
		if got := string(r.Get("a", []byte("1"))); got != "v1" {
			t.Errorf("within the transaction 1 is %q", got)
		}
		return errors.Join(r.Delete("a", []byte("1")), r.Put("b", []byte("x"), nil))
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if err := putRow(t, table, "a", "4", ""); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	table = openTable(t, TableOptions{Path: folder, Buckets: []string{"a", "b", "new"}})
	if got := rowsOf(t, table, "a"); !slices.Equal(got, []string{"2=v2", "3=v3"}) {
		t.Errorf("a holds %v", got)
	}
	if got := rowsOf(t, table, "b"); !slices.Equal(got, []string{"x="}) {
		t.Errorf("b holds %v", got)
	}
	if got := rowsOf(t, table, "new"); got != nil {
		t.Errorf("new holds %v", got)
	}
	var keys []string
	_ = table.View(func(r *Rows) error {
		r.Keys("a", []byte("3"), func(k []byte, size int) bool { keys = append(keys, fmt.Sprintf("%s %d", k, size)); return true })
		return nil
	})
	if !slices.Equal(keys, []string{"3 2"}) {
		t.Errorf("keys from 3 on are %v", keys)
	}
}

// Many goroutines share transactions; each Work sees what came before, Settled follows in the same order.
func TestTableOrder(t *testing.T) {
	table := openTable(t, TableOptions{Path: t.TempDir()})
	var worked, settled []int // only in Work and Settled, which are one at a time
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			err := table.Commit(TableWork{
				Bytes:   1,
				Work:    func(r *Rows) error { worked = append(worked, i); return r.Put("a", seqKey(uint64(i)), nil) },
				Settled: func(ok bool) { settled = append(settled, i) },
			})
			if err != nil {
				t.Error(err)
			}
			waited := false
			if err := table.Commit(TableWork{Settled: func(bool) { waited = true }}); err != nil || waited {
				t.Errorf("waiting only: %v, settled %v", err, waited)
			}
		})
	}
	wg.Wait()
	if len(worked) != 200 || !slices.Equal(worked, settled) {
		t.Errorf("worked %v, settled %v", worked, settled)
	}
}

// What was not written is taken back in the opposite order, and what only takes away is tried alone.
func TestTableWithoutSpace(t *testing.T) {
	table := openTable(t, TableOptions{Path: t.TempDir()})
	if err := putRow(t, table, "a", "old", "row"); err != nil {
		t.Fatal(err)
	}
	failOnce := func(err error) {
		table.commit = func(tx *bbolt.Tx) error {
			table.commit = (*bbolt.Tx).Commit
			return errors.Join(err, tx.Rollback())
		}
	}
	var log []string
	work := func(name string, relief bool) *request {
		r := table.queue.request(func(*bbolt.Tx) error {
			log = append(log, "work "+name)
			return table.rows.Put("a", []byte(name), nil)
		}, 1, 0)
		r.settled = func(ok bool) { log = append(log, fmt.Sprint(name, ok)) }
		r.relief = relief
		return r
	}
	group := []*request{work("1", false), work("2", true), work("3", false)}
	failOnce(&os.PathError{Op: "write", Err: syscall.ENOSPC})
	table.commitGroup(group)
	want := []string{"work 1", "work 2", "work 3", "3false", "2false", "1false", "work 2", "2true"}
	if !slices.Equal(log, want) {
		t.Errorf("got %q, want %q", log, want)
	}
	for i, r := range group {
		if errors.Is(r.err, ErrNoSpace) == r.relief {
			t.Errorf("request %d: %v", i+1, r.err)
		}
	}
	if got := rowsOf(t, table, "a"); !slices.Equal(got, []string{"2=", "old=row"}) {
		t.Errorf("a holds %v", got)
	}
	if !table.Full() {
		t.Error("not full")
	}
	failOnce(syscall.EIO)
	if err := putRow(t, table, "a", "4", "x"); !errors.Is(err, ErrFatal) {
		t.Errorf("EIO: %v", err)
	}
	if err := putRow(t, table, "a", "5", "x"); !errors.Is(err, ErrFatal) {
		t.Errorf("after EIO: %v", err)
	}
}

func TestTableLimit(t *testing.T) {
	table := openTable(t, TableOptions{Path: t.TempDir(), MaxSize: minMaxSize})
	value := string(make([]byte, 100<<10))
	n := 0
	var err error
	for ; n < 1000; n++ {
		if err = putRow(t, table, "a", fmt.Sprint(n), value); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrNoSpace) || n < 10 {
		t.Fatalf("after %d rows: %v", n, err)
	}
	small := TableWork{Bytes: 100, Relief: true, Work: func(r *Rows) error { return r.Put("b", []byte("k"), make([]byte, 100)) }}
	if err := table.Commit(small); err != nil {
		t.Errorf("relief: %v", err)
	}
	err = table.Commit(TableWork{Relief: true, Work: func(r *Rows) error {
		for i := range n / 2 {
			if err := r.Delete("a", []byte(fmt.Sprint(i))); err != nil {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Commit(small); err != nil { // what was freed can be used from the next transaction on
		t.Fatal(err)
	}
	if err := putRow(t, table, "a", "again", value); err != nil || table.Full() {
		t.Errorf("after deleting half: %v, full %v", err, table.Full())
	}
}

func checkCopy(t testing.TB, table *Table) (Report, error) {
	t.Helper()
	var b bytes.Buffer
	if _, err := table.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "copy")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return CheckFile(file)
}

func TestTableDamage(t *testing.T) {
	folder := t.TempDir()
	table := openTable(t, TableOptions{Path: folder})
	for _, k := range []string{"1", "2", "3"} {
		if err := putRow(t, table, "a", k, "value"); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("a"))
		return errors.Join(b.Put([]byte("2"), append(bytes.Clone(b.Get([]byte("2"))), 'x')), b.Put([]byte("3"), []byte{9}))
	}); err != nil {
		t.Fatal(err)
	}
	if err := table.Commit(TableWork{Work: func(r *Rows) error {
		if v := r.Get("a", []byte("3")); v != nil {
			t.Errorf("damaged 3 is %q", v)
		}
		return nil
	}}); err != nil {
		t.Fatal(err)
	}
	report, err := checkCopy(t, table)
	if err != nil || report.Damaged != 1 || report.Aside != 1 {
		t.Errorf("check: %+v, %v", report, err)
	}
	if got := rowsOf(t, table, "a"); !slices.Equal(got, []string{"1=value"}) {
		t.Errorf("a holds %v", got)
	}
	report, err = checkCopy(t, table)
	if err != nil || report.Damaged != 0 || report.Aside != 2 || report.Err() != nil {
		t.Errorf("check: %+v, %v", report, err)
	}
}

func TestTableFiles(t *testing.T) {
	folder := t.TempDir()
	s := open(t, Options{Path: folder})
	table := openTable(t, TableOptions{Path: folder})
	if err := putRow(t, table, "a", "k", "v"); err != nil {
		t.Fatal(err)
	}
	var snapshot bytes.Buffer
	if _, err := table.WriteTo(&snapshot); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(table.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if before, after, err := Compact(folder, "t.db", "none.db"); err != nil || before == 0 || after == 0 {
		t.Errorf("compact: %d, %d, %v", before, after, err)
	}
	if err := os.WriteFile(filepath.Join(folder, "t.db"), snapshot.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	table = openTable(t, TableOptions{Path: folder})
	if got := rowsOf(t, table, "a"); !slices.Equal(got, []string{"k=v"}) {
		t.Errorf("a of the snapshot holds %v", got)
	}
	if _, err := table.WriteTo(io.Discard); err != nil {
		t.Error(err)
	}
	if err := table.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(folder, "t.db"), filepath.Join(folder, "u.db")); err != nil {
		t.Fatal(err)
	}
	for _, o := range []TableOptions{
		{Path: folder, Name: "u.db"}, // of another name
		{Path: folder, Name: fileName},
		{Path: folder, Name: "x/y.db"},
		{Path: folder, Name: "v.db", Buckets: []string{"meta"}},
		{Path: folder, Name: "v.db", MaxSize: 1},
		{Name: "v.db"},
	} {
		if table, err := OpenTable(o); err == nil {
			t.Errorf("%+v: opened", o)
			_ = table.Close()
		}
	}
	// A Store's file is not a table's, nor the other way round.
	if err := os.Rename(filepath.Join(folder, "u.db"), filepath.Join(folder, fileName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(Options{Path: folder}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a table opened as a store: %v", err)
	}
}
