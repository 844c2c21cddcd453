package e2ee

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// ErrMissing is returned by Start when the clients' program is not installed; make bin/e2ee/installed does that.
var ErrMissing = errors.New("matrix-sdk-crypto is not installed (make bin/e2ee/installed; needs Node 20 and npm)")

// maxLine is the longest line of the program that is read: a file of some megabytes in base64.
const maxLine = 64 << 20

// Node is the running program; it can be any number of people at any number of clients. Safe for concurrent use.
type Node struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{} // closed when its output has ended

	mu      sync.Mutex
	next    int
	waiting map[int]chan answer
	devices map[string]*Device
	gone    error // why nothing more is answered
}

// answer is a line that answers a request.
type answer struct {
	Result json.RawMessage `json:"result"`
	Error  string          `json:"error"`
}

// Start runs the program, which is installed in bin/e2ee; what it complains of is appended to log. It ends with Stop or ctx.
func Start(ctx context.Context, bin, log string) (*Node, error) {
	dir, err := filepath.Abs(filepath.Join(bin, "e2ee"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "installed")); err != nil {
		return nil, ErrMissing
	}
	cmd := exec.CommandContext(ctx, "node", filepath.Join(dir, "main.mjs"))
	file, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer file.Close() // the program has its own
	cmd.Stderr = file
	n := &Node{cmd: cmd, done: make(chan struct{}), waiting: map[int]chan answer{}, devices: map[string]*Device{}}
	if n.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go n.read(out)
	return n, nil
}

// Stop ends the program and returns when it is gone.
func (n *Node) Stop() {
	_ = n.in.Close() // that is what it ends for; it may have ended
	<-n.done
	_ = n.cmd.Wait() // with whatever
}

// read takes what the program says until it ends.
func (n *Node) read(out io.Reader) {
	defer close(n.done)
	lines := bufio.NewScanner(out)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		var line struct {
			ID     int    `json:"id"`
			Device string `json:"device"`
			Told   *told  `json:"told"`
			answer
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			n.end(fmt.Errorf("the clients' program said %.100q: %w", lines.Text(), err))
			return
		}
		n.mu.Lock()
		if line.Told != nil {
			if d := n.devices[line.Device]; d != nil {
				d.take(*line.Told)
			}
		} else if ch := n.waiting[line.ID]; ch != nil {
			ch <- line.answer
			delete(n.waiting, line.ID)
		}
		n.mu.Unlock()
	}
	n.end(errors.Join(errors.New("the clients' program ended"), lines.Err()))
}

// end lets all who wait know that there is no answer.
func (n *Node) end(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = err
	for id, ch := range n.waiting {
		ch <- answer{Error: err.Error()}
		delete(n.waiting, id)
	}
}

// do asks a device for something and decodes what comes of it into out (nil: not looked at).
func (n *Node) do(ctx context.Context, device, verb string, with, out any) error {
	ch := make(chan answer, 1)
	n.mu.Lock()
	if n.gone != nil {
		n.mu.Unlock()
		return n.gone
	}
	n.next++
	id := n.next
	line, err := json.Marshal(map[string]any{"id": id, "device": device, "do": verb, "with": with})
	if err == nil {
		n.waiting[id] = ch
		_, err = n.in.Write(append(line, '\n'))
	}
	n.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s %s: %w", device, verb, err)
	}
	select {
	case a := <-ch:
		if a.Error != "" {
			return fmt.Errorf("%s %s: %s", device, verb, a.Error)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(a.Result, out)
	case <-ctx.Done():
		n.mu.Lock()
		delete(n.waiting, id)
		n.mu.Unlock()
		return fmt.Errorf("%s %s: %w", device, verb, ctx.Err())
	}
}
