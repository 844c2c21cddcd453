//go:build linux && interop

package turn

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
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/turn/relay"
)

// caller is a WebRTC stack of others that takes commands; see aiortc/peer.py for them.
type caller interface {
	do(ctx context.Context, command string, args map[string]any) (answer, error)
}

// answer to any command.
type answer struct {
	Error    string `json:"error"`
	SDP      string `json:"sdp"`
	Trouble  string `json:"trouble"` // what the gathering of candidates met
	State    string `json:"state"`
	Local    string `json:"local"`    // type of the selected pair's own candidate
	Remote   string `json:"remote"`   // and of the other's
	Protocol string `json:"protocol"` // to the relay; Chromium only
	Audio    int    `json:"audio"`    // frames or packets received
	Messages int    `json:"messages"` // received on the data channel
}

// launcher prepares a program on one of the hosts.
type launcher func(ctx context.Context, program string, args ...string) *exec.Cmd

// process is a program with pipes; it ends with the test.
func launch(t *testing.T, cmd *exec.Cmd, name string) {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	must(t, err)
	cmd.Stderr = log
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()         // with whatever
		if t.Failed() {
			b, _ := os.ReadFile(log.Name()) // nothing then
			t.Logf("%s wrote:\n%s", name, b[max(0, len(b)-3000):])
		}
		log.Close()
	})
}

// aiortc is a caller in Python.
type aiortc struct {
	in  io.Writer
	out *bufio.Scanner
}

func newAiortc(t *testing.T, on launcher, cert string) caller {
	t.Helper()
	python, err := filepath.Abs("../../bin/aiortc-venv/bin/python")
	must(t, err)
	if _, err := os.Stat(filepath.Join(filepath.Dir(python), "../installed")); err != nil {
		absent(t, "aiortc (make bin/aiortc-venv/installed)")
	}
	script, err := filepath.Abs("aiortc/peer.py")
	must(t, err)
	cmd := on(t.Context(), python, script)
	cmd.Env = append(os.Environ(), "SSL_CERT_FILE="+cert)
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	launch(t, cmd, "aiortc")
	a := &aiortc{in: in, out: bufio.NewScanner(out)}
	a.out.Buffer(nil, 1<<20)
	return a
}

func (a *aiortc) do(_ context.Context, command string, args map[string]any) (answer, error) {
	m := map[string]any{"do": command}
	for k, v := range args {
		m[k] = v
	}
	b, err := json.Marshal(m)
	if err != nil {
		return answer{}, err
	}
	if _, err := a.in.Write(append(b, '\n')); err != nil {
		return answer{}, err
	}
	if !a.out.Scan() {
		return answer{}, errors.Join(errors.New("aiortc ended"), a.out.Err())
	}
	var got answer
	if err := json.Unmarshal(a.out.Bytes(), &got); err != nil {
		return got, err
	}
	if got.Error != "" {
		return got, errors.New(got.Error)
	}
	return got, nil
}

// chromium is a caller in a page, driven over the pipe of the DevTools protocol, which needs no network.
type chromium struct {
	mu      sync.Mutex
	in      io.Writer
	out     *bufio.Reader
	next    int
	session string
}

func newChromium(t *testing.T, on launcher, _ string) caller {
	t.Helper()
	program := relay.Find("chromium")
	if program == "" {
		absent(t, "Chromium (the package chromium)")
	}
	cmd := on(t.Context(), program, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required",
		"--ignore-certificate-errors", "--user-data-dir="+t.TempDir(), "--remote-debugging-pipe", "about:blank")
	theirIn, in, err := os.Pipe()
	must(t, err)
	out, theirOut, err := os.Pipe()
	must(t, err)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // descriptors 3 and 4
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	launch(t, cmd, "chromium")
	theirIn.Close()
	theirOut.Close()
	t.Cleanup(func() { in.Close(); out.Close() })
	c := &chromium{in: in, out: bufio.NewReaderSize(out, 1<<20)}
	must(t, out.SetReadDeadline(time.Now().Add(5*time.Minute)))
	must(t, c.page())
	script, err := os.ReadFile("chromium/peer.js")
	must(t, err)
	if _, err := c.evaluate(string(script)); err != nil {
		t.Fatal(err)
	}
	return c
}

// call sends a command and waits for its answer.
func (c *chromium) call(method string, params map[string]any, result any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.next++
	m := map[string]any{"id": c.next, "method": method, "params": params}
	if c.session != "" {
		m["sessionId"] = c.session
	}
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := c.in.Write(append(b, 0)); err != nil {
		return err
	}
	for {
		b, err := c.out.ReadBytes(0)
		if err != nil {
			return fmt.Errorf("chromium: %s: %w", method, err)
		}
		var got struct {
			ID     int             `json:"id"`
			Result json.RawMessage `json:"result"`
			Error  json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(b[:len(b)-1], &got); err != nil {
			return err
		}
		if got.ID != c.next {
			continue // an event
		}
		if got.Error != nil {
			return fmt.Errorf("chromium: %s: %s", method, got.Error)
		}
		return json.Unmarshal(got.Result, result)
	}
}

// page attaches to the first page.
func (c *chromium) page() error {
	var targets struct {
		TargetInfos []struct{ TargetID, Type string } `json:"targetInfos"`
	}
	if err := c.call("Target.getTargets", nil, &targets); err != nil {
		return err
	}
	for _, target := range targets.TargetInfos {
		if target.Type != "page" {
			continue
		}
		var attached struct {
			SessionID string `json:"sessionId"`
		}
		if err := c.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached); err != nil {
			return err
		}
		c.session = attached.SessionID
		return nil
	}
	return errors.New("chromium has no page")
}

// evaluate runs an expression and waits for what it promises.
func (c *chromium) evaluate(expression string) (json.RawMessage, error) {
	var got struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception json.RawMessage `json:"exceptionDetails"`
	}
	err := c.call("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &got)
	if err == nil && got.Exception != nil {
		err = fmt.Errorf("chromium: %s", got.Exception)
	}
	return got.Result.Value, err
}

func (c *chromium) do(_ context.Context, command string, args map[string]any) (answer, error) {
	b, err := json.Marshal(args)
	if err != nil {
		return answer{}, err
	}
	value, err := c.evaluate("peer." + command + "(" + string(b) + ")")
	if err != nil {
		return answer{}, err
	}
	var got answer
	return got, json.Unmarshal(value, &got)
}

// candidates are the types of candidates in a description.
func candidates(sdp string) map[string]int {
	all := map[string]int{}
	for line := range strings.Lines(sdp) {
		if _, rest, ok := strings.Cut(line, " typ "); ok && strings.HasPrefix(line, "a=candidate:") {
			all[strings.Fields(rest)[0]]++
		}
	}
	return all
}
