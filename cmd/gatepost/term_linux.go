package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// hideTyping makes a terminal show nothing of what is typed, until restore is called; false: f is no terminal.
func hideTyping(f *os.File) (restore func() error, ok bool) {
	fd := int(f.Fd())
	was, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, false
	}
	silent := *was
	silent.Lflag &^= unix.ECHO
	silent.Lflag |= unix.ECHONL | unix.ICANON | unix.ISIG
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &silent); err != nil {
		return nil, false
	}
	return func() error { return unix.IoctlSetTermios(fd, unix.TCSETS, was) }, true
}
