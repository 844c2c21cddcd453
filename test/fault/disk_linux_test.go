//go:build fault

package fault

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// The same with a disk that somebody else fills, until that is gone. It needs a small disk, and so the right to mount one.
func TestStoreOnAFullDisk(t *testing.T) {
	needRoot(t)
	disk := func(w *world) string { return filepath.Join(w.gp.Dir, "data") }
	overfill(t, "store on a full disk", func(w *world) {
		w.ok(os.MkdirAll(disk(w), 0o700))
		w.ok(mount(disk(w), "16m"))
		t.Cleanup(func() { w.gp.Kill(); w.ok(unmount(disk(w))) })
	}, func(w *world) {
		w.ok(fill(filepath.Join(disk(w), "somebody-elses"), disk(w), 2<<20))
	}, func(w *world) {
		w.ok(os.Remove(filepath.Join(disk(w), "somebody-elses")))
	})
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		const why = "needs root, to mount a small disk"
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
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
func fill(file, dir string, left int64) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return err
	}
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, zeroes{}, int64(st.Bavail)*st.Bsize-left)
	return errors.Join(err, f.Close())
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
