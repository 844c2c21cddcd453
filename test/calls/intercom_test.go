//go:build linux && interop

package calls

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// intercom is the example in examples/intercom-python.
type intercom struct {
	t  *testing.T
	in io.Writer

	mu   sync.Mutex
	said []word
}

// word is a line of what it says.
type word struct {
	At        time.Time `json:"-"` // when it was read
	Connected bool      `json:"connected"`
	Call      string    `json:"call"`
	Person    string    `json:"person"`
	Answered  bool      `json:"answered"`
	Restarted bool      `json:"restarted"`
	Sends     string    `json:"sends"` // its description of a call, as the type of the message
	State     string    `json:"state"`
	Over      string    `json:"over"`
	Trouble   string    `json:"trouble"`
	Held      *bool     `json:"held"`
	Muted     *struct{ Audio, Video bool }
	Heard     *struct {
		Hertz    int
		Loudness float64
	}
	Seen *struct {
		Width, Height int
		Colour        [3]int
	}
}

// maker makes a command of a program and its arguments.
type maker func(ctx context.Context, name string, args ...string) *exec.Cmd

// newIntercom runs it until the test ends and returns when it is connected.
func newIntercom(t *testing.T, run maker, broker string, args ...string) *intercom {
	t.Helper()
	python, err := filepath.Abs("../../bin/intercom-venv/bin/python")
	must(t, err)
	if _, err := os.Stat(filepath.Join(filepath.Dir(python), "../installed")); err != nil {
		absent(t, "aiortc and paho-mqtt (make bin/intercom-venv/installed)")
	}
	cmd := run(t.Context(), python, append([]string{"-B", "../../examples/intercom-python/intercom.py", "--broker", broker}, args...)...)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	launch(t, cmd, "intercom")
	d := &intercom{t: t, in: in}
	go d.read(out)
	d.says(0, "that it is connected", func(w word) bool { return w.Connected })
	return d
}

func (d *intercom) read(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var w word
		if json.Unmarshal(lines.Bytes(), &w) != nil {
			w.Trouble = "not JSON: " + lines.Text()
		}
		w.At = time.Now()
		d.mu.Lock()
		d.said = append(d.said, w)
		d.mu.Unlock()
	}
}

// mark is where says may begin to look.
func (d *intercom) mark() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.said)
}

// says waits until it says what fits, after a mark.
func (d *intercom) says(from int, what string, fits func(word) bool) word {
	d.t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		d.mu.Lock()
		for _, w := range d.said[from:] {
			if fits(w) {
				d.mu.Unlock()
				return w
			}
		}
		rest, _ := json.Marshal(d.said[from:]) // plain values
		d.mu.Unlock()
		select {
		case <-tick.C:
		case <-deadline.C:
			d.t.Fatalf("the device never said %s; it said %s", what, rest)
		}
	}
}

// do types a command.
func (d *intercom) do(command string) {
	d.t.Helper()
	_, err := fmt.Fprintln(d.in, command)
	must(d.t, err)
}
