//go:build linux && interop

package calls

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/gatepost/gatepost/test/harness"
)

func red(c [3]int) bool { return c[0] > c[1]+60 && c[0] > c[2]+60 }

// lens is a camera made of FFmpeg that sends plain RTP: a red picture and a tone. It tells what it hears.
type lens struct {
	mu    sync.Mutex
	heard int
}

// yardRule is the rule of a camera that hears at ports[0], and sends its picture to ports[1] and its sound to ports[2].
func yardRule(name, codec string, ports []int) string {
	return fmt.Sprintf(`
- topic: %[1]s/{reading}
  device: %[1]s
  class: event
  call: {rtp: "rtp://127.0.0.1:%[2]d?video=%[3]s&video_port=%[4]d&audio=pcmu&audio_port=%[5]d"}
`, name, ports[0], codec, ports[1], ports[2])
}

func newLens(t *testing.T, encoder string, ports []int) *lens {
	t.Helper()
	python, err := filepath.Abs(binaries + "/intercom-venv/bin/python")
	must(t, err)
	if _, err := os.Stat(filepath.Join(filepath.Dir(python), "../installed")); err != nil {
		absent(t, "aiortc and PyAV (make bin/intercom-venv/installed)")
	}
	to := func(port int) string { return fmt.Sprintf("rtp://127.0.0.1:%d?pkt_size=1200", port) }
	cmd := exec.CommandContext(t.Context(), python, "-B", "../sources/camera.py", "--picture", encoder, "--video", to(ports[1]), "--audio", to(ports[2]), "--hear", fmt.Sprint(ports[0]))
	_, err = cmd.StdinPipe() // it ends with its input
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	launch(t, cmd, "camera.py")
	l := &lens{}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var said struct{ Heard *int }
			if json.Unmarshal(lines.Bytes(), &said) == nil && said.Heard != nil {
				l.mu.Lock()
				l.heard = *said.Heard
				l.mu.Unlock()
			}
		}
	}()
	return l
}

func (l *lens) hears(t *testing.T, pitch int) {
	t.Helper()
	until(t, fmt.Sprintf("the camera to hear %d Hz", pitch), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return near(l.heard, pitch)
	})
}

// The gateway forwards a camera's picture and sound to a browser, and the browser's sound to the camera.
func TestTerminatedVideo(t *testing.T) {
	b := newBrowser(t)
	codecs := []struct{ device, codec, encoder string }{{"yard", "h264", "libx264"}, {"pond", "vp8", "libvpx"}}
	ports, err := harness.FreePorts(3*len(codecs) + 1)
	must(t, err)
	media, peers := ports[3*len(codecs)], here(t)
	rules := ""
	for i, c := range codecs {
		rules += yardRule(c.device, c.codec, ports[3*i:])
	}
	w := setting{rules: rules, extra: func(*world) string {
		return fmt.Sprintf("calls: {listen_udp: \":%d\", allow_peers: %s}\n", media, peers)
	}}.begin(t)
	g := &gatePlace{w: w, alice: w.phone(b, "alice"), button: w.client("button")}
	for i, c := range codecs {
		camera := newLens(t, c.encoder, ports[3*i:])
		g.press(t, c.device+"/state")
		room := w.chatWith(g.alice, c.device)
		call := func(t *testing.T) {
			t.Helper()
			g.alice.t = t
			g.alice.do("place", map[string]any{"room": room, "video": true}, nil)
			sees(g.alice)
			camera.hears(t, personTone)
		}
		hangup := func(t *testing.T) {
			t.Helper()
			g.alice.do("hangup", nil, nil)
			g.alice.sees("the end", func(s seen) bool { return s.State == "ended" })
			until(t, "the gateway to know that the call is over", func() bool {
				all := g.calls()
				return len(all) > 0 && all[0] == "over"
			})
		}
		between(t, "the gateway as the party, "+c.codec, []scenario{
			{"a camera's picture", func(t *testing.T) {
				call(t)
				hangup(t)
			}},
			{"hold and unhold with a picture", func(t *testing.T) {
				call(t)
				g.alice.do("hold", map[string]any{"on": true}, nil)
				g.alice.sees("silence", func(s seen) bool { return s.Held && s.Hertz == 0 && s.State == "connected" })
				g.alice.do("hold", map[string]any{"on": false}, nil)
				sees(g.alice)
				hangup(t)
			}},
			{"the person's picture switched off", func(t *testing.T) {
				call(t)
				g.alice.do("blind", map[string]any{"on": true}, nil)
				sees(g.alice)
				g.alice.do("blind", map[string]any{"on": false}, nil)
				sees(g.alice)
				hangup(t)
			}},
		})
	}
}

// sees waits for the camera's picture and sound.
func sees(p *phone) {
	p.t.Helper()
	p.sees("the camera's picture, red, and its tone", func(s seen) bool {
		return s.State == "connected" && len(s.Colours) == 2 && red(s.Colours[0]) && red(s.Colours[1]) && near(s.Hertz, doorTone)
	})
}
