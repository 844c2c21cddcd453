package main

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
	"strconv"
	"sync"

	"github.com/pion/webrtc/v4"
)

// phone is alice's WebRTC client; its String says which. It says a tone of aliceTone from its answer until ctx is done.
type phone interface {
	fmt.Stringer
	// Answer answers an offer, with all candidates.
	Answer(ctx context.Context, offer string) (sdp string, err error)
	Add(webrtc.ICECandidateInit) error
	Hertz() int // of what was heard of late; 0 is silence
	Press(key byte) error
	Close() error
}

// callee is the program that makes aiortc a phone, from where make runs the demo.
const callee = "test/sources/callee.py"

// aiortc is a phone made of aiortc, in a process of its own, which speaks lines of JSON.
type aiortc struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan string
	ended   chan struct{}

	mu    sync.Mutex // of hertz, and of in
	hertz int
}

func newAiortc(python string) (*aiortc, error) {
	cmd := exec.Command(python, "-B", filepath.Base(callee), strconv.Itoa(aliceTone)) //nolint:gosec,noctx // the caller's Python; Close ends it
	cmd.Dir, cmd.Stderr = filepath.Dir(callee), os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("aiortc: %w", err)
	}
	a := &aiortc{cmd: cmd, in: in, answers: make(chan string, 1), ended: make(chan struct{})}
	go a.read(out)
	return a, nil
}

// read takes what the program says, to its end.
func (a *aiortc) read(out io.Reader) {
	defer close(a.ended)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var said struct {
			SDP   string `json:"sdp"`
			Heard *int   `json:"heard"`
		}
		if json.Unmarshal(lines.Bytes(), &said) != nil {
			continue
		}
		if said.SDP != "" {
			a.answers <- said.SDP
		}
		if said.Heard != nil {
			a.mu.Lock()
			a.hertz = *said.Heard
			a.mu.Unlock()
		}
	}
}

func (a *aiortc) tell(word map[string]any) error {
	line, err := json.Marshal(word)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, err = a.in.Write(append(line, '\n'))
	return err
}

func (*aiortc) String() string         { return "aiortc" }
func (a *aiortc) Press(key byte) error { return a.tell(map[string]any{"press": key}) }

// Answer is of phone.
func (a *aiortc) Answer(ctx context.Context, offer string) (string, error) {
	if err := a.tell(map[string]any{"offer": offer}); err != nil {
		return "", err
	}
	select {
	case sdp := <-a.answers:
		return sdp, nil
	case <-a.ended:
		return "", errors.New("it ended")
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (a *aiortc) Add(c webrtc.ICECandidateInit) error {
	mid := ""
	if c.SDPMid != nil {
		mid = *c.SDPMid
	}
	return a.tell(map[string]any{"candidate": c.Candidate, "mid": mid})
}

func (a *aiortc) Hertz() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.hertz
}

// Close ends the program.
func (a *aiortc) Close() error {
	err := a.in.Close()
	<-a.ended
	return errors.Join(err, a.cmd.Wait())
}
