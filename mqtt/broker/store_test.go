package broker

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
)

// memory is a Store that forgets everything with the process, but not between two Brokers. Like the real one it lets what
// comes at the same time share a transaction, and takes back what was not written.
type memory struct {
	mu      sync.Mutex
	buckets map[string]*bucket
	fail    func(relief bool) error // asked before each transaction is written; nil: never fails

	queueMu sync.Mutex
	waiting []*waiter
	led     bool
}

type waiter struct {
	c    Commit
	done chan error
}

type bucket struct {
	keys   []string // in order
	values map[string][]byte
}

func newMemory() *memory {
	m := &memory{buckets: map[string]*bucket{}}
	for _, name := range Buckets() {
		m.buckets[name] = &bucket{values: map[string][]byte{}}
	}
	return m
}

// crash is what another process would find.
func (m *memory) crash() *memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := newMemory()
	for name, b := range m.buckets {
		next.buckets[name] = &bucket{slices.Clone(b.keys), maps.Clone(b.values)}
	}
	return next
}

func (m *memory) failWith(f func(relief bool) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = f
}

// rows is how many rows a bucket has.
func (m *memory) rows(name string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.buckets[name].keys)
}

func (m *memory) View(f func(Rows) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return f(&memoryRows{m: m})
}

func (m *memory) Commit(c Commit) error {
	w := &waiter{c, make(chan error, 1)}
	m.queueMu.Lock()
	m.waiting = append(m.waiting, w)
	lead := !m.led
	m.led = true
	m.queueMu.Unlock()
	for lead {
		m.queueMu.Lock()
		group := m.waiting
		m.waiting = nil
		m.led = len(group) > 0
		lead = m.led
		m.queueMu.Unlock()
		m.write(group)
	}
	return <-w.done
}

// write commits a group. When that fails, what only takes away is tried again alone.
func (m *memory) write(group []*waiter) {
	err := m.try(group)
	var rest []*waiter
	for _, w := range group {
		if err != nil && isNoSpace(err) && w.c.Relief {
			rest = append(rest, w)
			continue
		}
		w.done <- err
	}
	if len(rest) > 0 {
		err := m.try(rest)
		for _, w := range rest {
			w.done <- err
		}
	}
}

func (m *memory) try(group []*waiter) error {
	var ran []*waiter
	undo, err := m.run(group, &ran)
	if err != nil {
		undo()
		for _, w := range slices.Backward(ran) {
			if w.c.Settled != nil {
				w.c.Settled(false)
			}
		}
		return err
	}
	for _, w := range ran {
		if w.c.Settled != nil {
			w.c.Settled(true)
		}
	}
	return nil
}

func (m *memory) run(group []*waiter, ran *[]*waiter) (undo func(), err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &memoryRows{m: m}
	undo = func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, u := range slices.Backward(r.undo) {
			u()
		}
	}
	for _, w := range group {
		if w.c.Work == nil {
			continue
		}
		if err := w.c.Work(r); err != nil {
			return undo, err
		}
		*ran = append(*ran, w)
	}
	if m.fail != nil && len(*ran) > 0 {
		relief := !slices.ContainsFunc(*ran, func(w *waiter) bool { return !w.c.Relief })
		return undo, m.fail(relief)
	}
	return undo, nil
}

type memoryRows struct {
	m    *memory
	undo []func()
}

func (r *memoryRows) Get(name string, key []byte) []byte {
	b := r.m.buckets[name]
	v, ok := b.values[string(key)]
	if ok && v == nil {
		v = []byte{}
	}
	return v
}

// maxKey is what package store takes too.
const maxKey = 32 << 10

func (r *memoryRows) Put(name string, key, value []byte) error {
	if len(key) > maxKey {
		return errors.New("key too large")
	}
	b, k := r.m.buckets[name], string(key)
	before, there := b.values[k]
	b.set(k, bytes.Clone(value))
	r.undo = append(r.undo, func() {
		if there {
			b.set(k, before)
		} else {
			b.remove(k)
		}
	})
	return nil
}

func (r *memoryRows) Delete(name string, key []byte) error {
	b, k := r.m.buckets[name], string(key)
	before, there := b.values[k]
	if !there {
		return nil
	}
	b.remove(k)
	r.undo = append(r.undo, func() { b.set(k, before) })
	return nil
}

func (b *bucket) set(k string, v []byte) {
	if _, there := b.values[k]; !there {
		if i, found := slices.BinarySearch(b.keys, k); !found {
			b.keys = slices.Insert(b.keys, i, k)
		}
	}
	b.values[k] = v
}

func (b *bucket) remove(k string) {
	if i, found := slices.BinarySearch(b.keys, k); found {
		b.keys = slices.Delete(b.keys, i, i+1)
	}
	delete(b.values, k)
}

func (r *memoryRows) Each(name string, from []byte, f func(key, value []byte) bool) {
	b := r.m.buckets[name]
	i, _ := slices.BinarySearchFunc(b.keys, string(from), strings.Compare)
	for ; i < len(b.keys); i++ {
		if !f([]byte(b.keys[i]), b.values[b.keys[i]]) {
			return
		}
	}
}

func (r *memoryRows) Keys(name string, from []byte, f func(key []byte, size int) bool) {
	r.Each(name, from, func(k, v []byte) bool { return f(k, len(v)) })
}
