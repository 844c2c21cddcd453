//go:build fault

package fault

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The same with a disk that somebody else fills, until that is gone. It needs a small disk, and so the right to mount one.
func TestStoreOnAFullDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		const why = "needs root, to mount a small disk"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	disk := func(w *world) string { return filepath.Join(w.gp.Dir, "data") }
	overfill(t, "store on a full disk", func(w *world) {
		w.ok(os.MkdirAll(disk(w), 0o700))
		w.ok(mount(disk(w), "16m"))
		t.Cleanup(func() { w.gp.Kill(); w.ok(unmount(disk(w))) })
	}, func(w *world) {
		fill(w, filepath.Join(disk(w), "somebody-elses"), disk(w), 2<<20)
	}, func(w *world) {
		w.ok(os.Remove(filepath.Join(disk(w), "somebody-elses")))
	})
}

// mount makes dir a disk in memory of that size (as in "16m"), for its owner only.
func mount(dir, size string) error {
	if err := syscall.Mount("gatepost-fault", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		return fmt.Errorf("mount a disk of %s at %s: %w", size, dir, err)
	}
	return nil
}

func unmount(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }

// fill writes a file until so many bytes are left on the disk of dir.
func fill(w *world, file, dir string, left int64) {
	w.t.Helper()
	var st syscall.Statfs_t
	w.ok(syscall.Statfs(dir, &st))
	n := int64(st.Bavail)*st.Bsize - left
	f, err := os.Create(file)
	w.ok(err)
	_, err = io.CopyN(f, zeroes{}, n)
	w.ok(err)
	w.ok(f.Close())
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
