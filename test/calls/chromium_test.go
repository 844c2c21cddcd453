//go:build linux && interop

package calls

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"
)

// browser is Chromium, driven over the pipe of the DevTools protocol, which needs no network. Not safe for concurrent use.
type browser struct {
	in   io.Writer
	pipe *os.File
	out  *bufio.Reader // of pipe
	next int
	site string // where the page of phone.js is
}

// newBrowser starts it, with its page on loopback; it ends with the test.
func newBrowser(t *testing.T) *browser {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	return startBrowser(t, command, l)
}

// startBrowser runs it with its page at l.
func startBrowser(t *testing.T, run maker, l net.Listener, args ...string) *browser {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		absent(t, "Chromium (the package chromium)")
	}
	script, err := os.ReadFile("../../bin/calls-page/phone.bundle.js")
	if err != nil {
		absent(t, "matrix-js-sdk (make bin/calls-page/phone.bundle.js)")
	}
	// A page of 127.0.0.1 may use microphone and camera.
	site := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/phone.js" {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = w.Write(script) // the page says what it misses
			return
		}
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<!doctype html><title>phone</title><script type="module" src="/phone.js"></script>`)
	}))
	must(t, site.Listener.Close())
	site.Listener = l
	site.Start()
	t.Cleanup(site.Close)
	cmd := run(t.Context(), program, append([]string{
		"--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--disable-backgrounding-occluded-windows",
		"--autoplay-policy=no-user-gesture-required", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
		"--user-data-dir=" + profile(t), "--remote-debugging-pipe",
	}, append(args, "about:blank")...)...)
	theirIn, in, err := os.Pipe()
	must(t, err)
	out, theirOut, err := os.Pipe()
	must(t, err)
	cmd.ExtraFiles = []*os.File{theirIn, theirOut} // descriptors 3 and 4
	cmd.Env = append(os.Environ(), "HOME="+profile(t))
	launch(t, cmd, "chromium")
	theirIn.Close()
	theirOut.Close()
	t.Cleanup(func() { in.Close(); out.Close() })
	return &browser{in: in, pipe: out, out: bufio.NewReaderSize(out, 1<<20), site: site.URL}
}

// profile is a folder for the browser, whose helpers write there for a moment after it was ended.
func profile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chromium-")
	must(t, err)
	t.Cleanup(func() {
		until(t, "the browser's helpers to leave "+dir, func() bool { return os.RemoveAll(dir) == nil })
	})
	return dir
}

// send sends a command and waits for its answer, with a deadline.
func (b *browser) send(session, method string, params map[string]any, result any) error {
	b.next++
	m := map[string]any{"id": b.next, "method": method, "params": params}
	if session != "" {
		m["sessionId"] = session
	}
	command, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := b.pipe.SetReadDeadline(time.Now().Add(2 * patience)); err != nil {
		return err
	}
	if _, err := b.in.Write(append(command, 0)); err != nil {
		return err
	}
	for {
		line, err := b.out.ReadBytes(0)
		if err != nil {
			return fmt.Errorf("chromium: %s: %w", method, err)
		}
		var got struct {
			ID            int
			Result, Error json.RawMessage
		}
		if err := json.Unmarshal(line[:len(line)-1], &got); err != nil {
			return err
		}
		if got.ID != b.next {
			continue // an event
		}
		if got.Error != nil {
			return fmt.Errorf("chromium: %s: %s", method, got.Error)
		}
		return json.Unmarshal(got.Result, result)
	}
}

// phone is a tab; in most of them is a person's client.
type phone struct {
	t       *testing.T
	b       *browser
	session string
}

// tab opens a page.
func (b *browser) tab(t *testing.T, url string) *phone {
	t.Helper()
	var target struct{ TargetID string }
	must(t, b.send("", "Target.createTarget", map[string]any{"url": url}, &target))
	var attached struct{ SessionID string }
	must(t, b.send("", "Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached))
	return &phone{t: t, b: b, session: attached.SessionID}
}

// phone opens a tab and logs a person in.
func (b *browser) phone(t *testing.T, homeserver, user, password string) *phone {
	t.Helper()
	p := b.tab(t, b.site)
	until(t, "the page", func() bool {
		value, err := p.evaluate("typeof globalThis.phone")
		return err == nil && string(value) == `"object"`
	})
	p.do("start", map[string]any{"homeserver": homeserver, "user": user, "password": password}, nil)
	return p
}

// evaluate runs an expression and waits for what it promises.
func (p *phone) evaluate(expression string) (json.RawMessage, error) {
	var got struct {
		Result    struct{ Value json.RawMessage }
		Exception json.RawMessage `json:"exceptionDetails"`
	}
	err := p.b.send(p.session, "Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true}, &got)
	if err == nil && got.Exception != nil {
		err = fmt.Errorf("chromium: %s", got.Exception)
	}
	return got.Result.Value, err
}

// do calls a function of the page.
func (p *phone) do(name string, args map[string]any, result any) {
	p.t.Helper()
	if args == nil {
		args = map[string]any{}
	}
	in, err := json.Marshal(args)
	must(p.t, err)
	value, err := p.evaluate("phone." + name + "(" + string(in) + ")")
	must(p.t, err)
	if result != nil {
		must(p.t, json.Unmarshal(value, result))
	}
}

// seen is what the page says of its latest call.
type seen struct {
	State    string   `json:"state"`
	States   []string `json:"states"`
	Call     string   `json:"call"`
	Incoming int      `json:"incoming"` // calls that rang, in all
	Reason   string   `json:"reason"`
	Hertz    int      `json:"hertz"`   // the loudest frequency heard, 0: silence
	Colours  [][3]int `json:"colours"` // of the left and the right half
	Width    int      `json:"width"`
	ICE      string   `json:"ice"`
	Local    string   `json:"local"` // type of the selected pair's own candidate
	Remote   string   `json:"remote"`
	Ufrag    string   `json:"ufrag"` // the device's, which is new after an ICE restart
	Codec    string   `json:"codec"` // of the sound that is sent
	Held     bool     `json:"held"`
}

func (p *phone) report() seen {
	p.t.Helper()
	var s seen
	p.do("report", nil, &s)
	return s
}

// sees polls until the page says what fits.
func (p *phone) sees(what string, fits func(seen) bool) seen {
	p.t.Helper()
	var last seen
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if last = p.report(); fits(last) {
			return last
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			p.t.Fatalf("the person's client never saw %s; at last %+v", what, last)
		}
	}
}
