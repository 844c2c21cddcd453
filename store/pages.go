package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// bbolt trusts its file: a mangled page makes it panic, in a goroutine of its own where nobody can recover, or fault. So
// the pages are walked before bbolt opens the file. What follows is bbolt's file format (its internal/common: Page, Meta,
// LeafPageElement, BranchPageElement), in the byte order of the machine.
const (
	pageHead     = 16
	pageElement  = 16
	metaBytes    = 64
	bucketBytes  = 16
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	pageBranch   = 0x01
	pageLeaf     = 0x02
	leafIsBucket = 0x01
	noFreelist   = ^uint64(0)
	maxDepth     = 64
)

// pageWalk walks all pages that can be reached in a file.
type pageWalk struct {
	file     io.ReaderAt
	pageSize int64
	pages    uint64 // of the file that are in use: everything reached is below
	seen     []uint64
	bufs     [][]byte // one for each depth
}

// checkPages says whether bbolt can read the file of that size. The error says what is wrong; a file whose content is
// merely not ours is fine.
func checkPages(file io.ReaderAt, size int64) error {
	m, err := newestMeta(file, size)
	if err != nil {
		return err
	}
	w := &pageWalk{file: file, pageSize: int64(m.pageSize), pages: m.pages}
	if int64(w.pages) > size/w.pageSize {
		return fmt.Errorf("file has %d bytes, its content needs %d: it was cut short", size, int64(w.pages)*w.pageSize)
	}
	w.seen = make([]uint64, w.pages/64+1)
	if _, err := w.tree(m.root, nil, nil, 0); err != nil {
		return err
	}
	return nil
}

// meta is what a meta page says.
type meta struct {
	pageSize uint32
	root     uint64
	freelist uint64
	pages    uint64
	txid     uint64
}

// newestMeta finds the meta page that bbolt will use.
func newestMeta(file io.ReaderAt, size int64) (m meta, err error) {
	if size < 4*1024 {
		return m, fmt.Errorf("file has %d bytes: it was cut short", size)
	}
	found := false
	buf := make([]byte, pageHead+metaBytes)
	// The second meta page is one page further, and only the metas know how large a page is.
	for pos := int64(0); pos == 0 || pos <= 64<<10 && pos < size-int64(len(buf)); pos = max(pos*2, 1024) {
		if _, err := file.ReadAt(buf, pos); err != nil {
			return m, fmt.Errorf("read meta page: %w", err)
		}
		one, ok := parseMeta(buf[pageHead:])
		if ok && (pos == 0 || int64(one.pageSize) == pos) && (!found || one.txid > m.txid) {
			m, found = one, true
		}
	}
	if !found {
		return m, fmt.Errorf("neither meta page is whole")
	}
	return m, nil
}

func parseMeta(b []byte) (m meta, ok bool) {
	e := binary.NativeEndian
	sum := fnv.New64a()
	_, _ = sum.Write(b[:metaBytes-8]) // never fails
	if e.Uint32(b) != metaMagic || e.Uint32(b[4:]) != metaVersion || e.Uint64(b[56:]) != sum.Sum64() {
		return m, false
	}
	m = meta{pageSize: e.Uint32(b[8:]), root: e.Uint64(b[16:]), freelist: e.Uint64(b[32:]), pages: e.Uint64(b[40:]), txid: e.Uint64(b[48:])}
	plausible := m.pageSize >= 1024 && m.pageSize <= 64<<10 && m.pageSize&(m.pageSize-1) == 0 && m.pages < 1<<40 &&
		m.root > 1 && m.root < m.pages && (m.freelist == noFreelist || m.freelist > 1 && m.freelist < m.pages)
	return m, plausible
}

// visit marks the pages from id on as reached; each may be reached once.
func (w *pageWalk) visit(id, n uint64) error {
	if id < 2 || id+n > w.pages || id+n < id {
		return fmt.Errorf("page %d is outside the file", id)
	}
	for i := id; i < id+n; i++ {
		if w.seen[i/64]&(1<<(i%64)) != 0 {
			return fmt.Errorf("page %d is used twice", i)
		}
		w.seen[i/64] |= 1 << (i % 64)
	}
	return nil
}

// read gives page id with its overflow, in a buffer of that depth.
func (w *pageWalk) read(id uint64, depth int) ([]byte, error) {
	for len(w.bufs) <= depth {
		w.bufs = append(w.bufs, make([]byte, w.pageSize))
	}
	buf := w.bufs[depth][:w.pageSize]
	if id < 2 || id >= w.pages {
		return nil, fmt.Errorf("page %d is outside the file", id)
	}
	if _, err := w.file.ReadAt(buf, int64(id)*w.pageSize); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	n := uint64(binary.NativeEndian.Uint32(buf[12:])) + 1
	if binary.NativeEndian.Uint64(buf) != id {
		return nil, fmt.Errorf("page %d bears another number", id)
	}
	if err := w.visit(id, n); err != nil {
		return nil, err
	}
	if n == 1 {
		return buf, nil
	}
	if int64(cap(buf)) < int64(n)*w.pageSize {
		w.bufs[depth] = make([]byte, int64(n)*w.pageSize)
	}
	buf = w.bufs[depth][:int64(n)*w.pageSize]
	if _, err := w.file.ReadAt(buf, int64(id)*w.pageSize); err != nil {
		return nil, fmt.Errorf("read page %d: %w", id, err)
	}
	return buf, nil
}

// tree walks the tree below page id, whose keys lie from low on and below high (nil: no such bound). last is its last key.
func (w *pageWalk) tree(id uint64, low, high []byte, depth int) (last []byte, err error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("page %d is too deep", id)
	}
	buf, err := w.read(id, depth)
	if err != nil {
		return nil, err
	}
	switch flags := binary.NativeEndian.Uint16(buf[8:]); flags {
	case pageLeaf:
		return w.leaf(buf, id, low, high, depth)
	case pageBranch:
		return w.branch(buf, id, low, high, depth)
	default:
		return nil, fmt.Errorf("page %d is of unknown kind %#x", id, flags)
	}
}

func (w *pageWalk) branch(buf []byte, id uint64, low, high []byte, depth int) (last []byte, err error) {
	n := int(binary.NativeEndian.Uint16(buf[10:]))
	if n == 0 {
		return nil, fmt.Errorf("page %d is an empty branch", id)
	}
	key := func(i int) ([]byte, error) {
		e := pageHead + i*pageElement
		return span(buf, e, n, binary.NativeEndian.Uint32(buf[e:]), 0, binary.NativeEndian.Uint32(buf[e+4:]), id)
	}
	if pageHead+n*pageElement > len(buf) {
		return nil, fmt.Errorf("page %d: %d elements do not fit", id, n)
	}
	last = low
	for i := range n {
		k, err := key(i)
		if err != nil {
			return nil, err
		}
		if last != nil && (i == 0 && bytes.Compare(last, k) > 0 || i > 0 && bytes.Compare(last, k) >= 0) || high != nil && bytes.Compare(k, high) >= 0 {
			return nil, fmt.Errorf("page %d: keys are not in order", id)
		}
		end := high
		if i+1 < n {
			if end, err = key(i + 1); err != nil {
				return nil, err
			}
		}
		child := binary.NativeEndian.Uint64(buf[pageHead+i*pageElement+8:])
		if last, err = w.tree(child, k, end, depth+1); err != nil {
			return nil, err
		}
	}
	return last, nil
}

func (w *pageWalk) leaf(buf []byte, id uint64, low, high []byte, depth int) (last []byte, err error) {
	n := int(binary.NativeEndian.Uint16(buf[10:]))
	if pageHead+n*pageElement > len(buf) {
		return nil, fmt.Errorf("page %d: %d elements do not fit", id, n)
	}
	last = low
	for i := range n {
		e := pageHead + i*pageElement
		pos, ksize, vsize := binary.NativeEndian.Uint32(buf[e+4:]), binary.NativeEndian.Uint32(buf[e+8:]), binary.NativeEndian.Uint32(buf[e+12:])
		k, err := span(buf, e, n, pos, 0, ksize, id)
		if err != nil {
			return nil, err
		}
		v, err := span(buf, e, n, pos, ksize, vsize, id)
		if err != nil {
			return nil, err
		}
		if last != nil && (i == 0 && bytes.Compare(last, k) > 0 || i > 0 && bytes.Compare(last, k) >= 0) || high != nil && bytes.Compare(k, high) >= 0 {
			return nil, fmt.Errorf("page %d: keys are not in order", id)
		}
		last = k
		if flags := binary.NativeEndian.Uint32(buf[e:]); flags == leafIsBucket {
			if err := w.bucket(v, id, depth); err != nil {
				return nil, err
			}
		} else if flags != 0 {
			return nil, fmt.Errorf("page %d: element of unknown kind %#x", id, flags)
		}
	}
	return bytes.Clone(last), nil // the buffer is used again
}

// bucket walks a bucket inside a leaf: a page of its own, or one inside the value.
func (w *pageWalk) bucket(v []byte, id uint64, depth int) error {
	if len(v) < bucketBytes {
		return fmt.Errorf("page %d: bucket of %d bytes", id, len(v))
	}
	if root := binary.NativeEndian.Uint64(v); root != 0 {
		_, err := w.tree(root, nil, nil, depth+1)
		return err
	}
	inline := v[bucketBytes:]
	if len(inline) < pageHead || binary.NativeEndian.Uint16(inline[8:]) != pageLeaf {
		return fmt.Errorf("page %d: inline bucket is no leaf", id)
	}
	_, err := w.leaf(inline, id, nil, nil, depth)
	return err
}

// span is the part of a page at the element at e, off bytes after where its data begins, which is after all n elements.
func span(buf []byte, e, n int, pos, off, size uint32, id uint64) ([]byte, error) {
	from := uint64(e) + uint64(pos) + uint64(off)
	if from < uint64(pageHead+n*pageElement) || from+uint64(size) > uint64(len(buf)) {
		return nil, fmt.Errorf("page %d: element reaches outside", id)
	}
	return buf[from : from+uint64(size)], nil
}
