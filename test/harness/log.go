package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
)

// Log keeps the lines that a program writes, in memory and in a file that stays when a test fails. Safe for concurrent use.
type Log struct {
	path string

	mu      sync.Mutex
	file    *os.File
	partial []byte
	lines   []string
	changed chan struct{} // closed and replaced at each line
}

func newLog(path string) (*Log, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &Log{path: path, file: file, changed: make(chan struct{})}, nil
}

// Write takes output of the program.
func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.file.Write(b); err != nil {
		return 0, err
	}
	l.partial = append(l.partial, b...)
	for {
		line, rest, found := bytes.Cut(l.partial, []byte("\n"))
		if !found {
			return len(b), nil
		}
		l.lines = append(l.lines, string(line))
		l.partial = rest
		close(l.changed)
		l.changed = make(chan struct{})
	}
}

// Path of the file.
func (l *Log) Path() string { return l.path }

// Len is the number of whole lines so far.
func (l *Log) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lines)
}

// Since returns the lines from the n-th (0 is the first) on.
func (l *Log) Since(n int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines[n:]...)
}

// Tail is the last n lines as one text.
func (l *Log) Tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines[max(0, len(l.lines)-n):], "\n")
}

// Await returns the first line at or after the n-th that holds text, waiting for it until ctx is done.
func (l *Log) Await(ctx context.Context, n int, text string) (string, error) {
	for {
		l.mu.Lock()
		for ; n < len(l.lines); n++ {
			if strings.Contains(l.lines[n], text) {
				line := l.lines[n]
				l.mu.Unlock()
				return line, nil
			}
		}
		changed := l.changed
		l.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return "", fmt.Errorf("waited for a log line with %q: %w", text, context.Cause(ctx))
		}
	}
}
