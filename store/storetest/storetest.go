// Package storetest has stores for tests: Open gives one in a temporary folder that is checked when the test ends, Reopen
// closes and opens it as a restart would, and Kill (kill.go) proves that a SIGKILL loses nothing.
package storetest

import (
	"testing"

	"github.com/gatepost/gatepost/store"
)

// Store is an open store in a folder of its own. When the test ends it is closed and its file checked: the pages, every
// checksum, and that what Lanes told is what the file holds.
type Store struct {
	*store.Store
	opts    store.Options
	damaged bool
	ended   bool
}

// Open opens a new store. Options may be zero; Path is set if it is empty.
func Open(t testing.TB, o store.Options) *Store {
	t.Helper()
	if o.Path == "" {
		o.Path = t.TempDir()
	}
	s := &Store{opts: o}
	s.open(t)
	t.Cleanup(func() { s.End(t) })
	return s
}

// ExpectDamage says that the test damages values on purpose: the check at the end lets them pass.
func (s *Store) ExpectDamage() { s.damaged = true }

// Path is the folder of the store.
func (s *Store) Path() string { return s.opts.Path }

// Reopen closes the store and opens it again, as a restart does. Metrics go to nobody from here on.
func (s *Store) Reopen(t testing.TB) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("close the store: %v", err)
	}
	s.open(t)
}

func (s *Store) open(t testing.TB) {
	t.Helper()
	opened, err := store.Open(s.opts)
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	s.Store, s.opts.Metrics = opened, nil
}

// End closes and checks the store now. The end of the test then does no more.
func (s *Store) End(t testing.TB) {
	t.Helper()
	if s.ended {
		return
	}
	s.ended = true
	records := 0
	for _, l := range s.Lanes() {
		records += l.Records
	}
	if err := s.Close(); err != nil {
		t.Errorf("close the store: %v", err)
		return
	}
	report, err := store.Check(s.opts.Path)
	switch {
	case err != nil:
		t.Errorf("check the store: %v", err)
	case !report.Readable() || report.Err() != nil && !s.damaged:
		t.Errorf("the store is damaged: %v: %q", report.Err(), report.Problems)
	case report.Records != records:
		t.Errorf("the file holds %d records, the index %d", report.Records, records)
	}
}
