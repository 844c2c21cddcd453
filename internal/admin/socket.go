package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// maxSocketPath is what fits into a socket address (unix(7)), in bytes.
const maxSocketPath = 107

// probeTime is how long a process that holds the socket may take to accept.
const probeTime = 2 * time.Second

// socket is the control socket and its place in the file system.
type socket struct {
	listener net.Listener
	path     string
}

func checkSocketPath(path string) error {
	if len(path) > maxSocketPath {
		return fmt.Errorf("socket %q: the path has %d bytes and a socket's may have %d: choose a shorter one",
			path, len(path), maxSocketPath)
	}
	return nil
}

// listenSocket takes the socket at path with mode 0600.
func listenSocket(path string) (*socket, error) {
	if err := checkFolder(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if err := clearStale(path); err != nil {
		return nil, err
	}
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var err error
		// Before bind the mode of the descriptor becomes the mode of the file (Linux): it is never open to others.
		if e := c.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) }); e != nil {
			return e
		}
		return err
	}}
	l, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	if ul, ok := l.(*net.UnixListener); ok {
		ul.SetUnlinkOnClose(false) // remove looks first whether it is still ours
	}
	if err := os.Chmod(path, 0o600); err != nil { // where the descriptor's mode does not count
		return nil, errors.Join(fmt.Errorf("socket: %w", err), l.Close())
	}
	return &socket{listener: limit(l, maxConns), path: path}, nil
}

// remove deletes the file after the listener was closed. A successor that has put its own there keeps it.
func (s *socket) remove() error {
	if err := clearStale(s.path); err != nil && !errors.Is(err, ErrRunning) {
		return err
	}
	return nil
}

// checkFolder makes sure that only our user can put a socket there.
func checkFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("socket's folder: %w", err)
	}
	fi, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("socket's folder: %w", err)
	}
	if fi.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("socket's folder %s can be written by other users (mode %04o): run `chmod go-w %s`",
			dir, fi.Mode().Perm(), dir)
	}
	return nil
}

// clearStale removes the socket of a dead process.
func clearStale(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("socket %s: there is a file that is not a socket: move it away or choose another path", path)
	}
	conn, err := net.DialTimeout("unix", path, probeTime)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("socket %s: %w", path, ErrRunning)
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("socket: %w", err)
		}
		return nil
	default: // full backlog, no permission: somebody is there
		return fmt.Errorf("socket %s: %w (%w)", path, ErrRunning, err)
	}
}

// limited is a listener with at most as many open connections as slots has room for; more wait in the backlog.
type limited struct {
	net.Listener
	slots  chan struct{}
	closed chan struct{}
	once   sync.Once
}

func limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &slotConn{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
}

func (l *limited) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// slotConn gives its slot back when it is closed.
type slotConn struct {
	net.Conn
	free func()
}

func (c *slotConn) Close() error {
	err := c.Conn.Close()
	c.free()
	return err
}
