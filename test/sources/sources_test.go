//go:build linux && interop

package sources

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

// go2rtc is a server of cameras, with one stream, which a camera of FFmpeg publishes.
type go2rtc struct {
	t         *testing.T
	api, rtsp string
}

func newGo2rtc(t *testing.T, codec string) *go2rtc {
	t.Helper()
	if _, err := os.Stat(binaries + "/go2rtc"); err != nil {
		absent(t, "go2rtc (make bin/go2rtc)")
	}
	ports, err := harness.FreePorts(3)
	must(t, err)
	g := &go2rtc{t: t, api: fmt.Sprintf("127.0.0.1:%d", ports[0]), rtsp: fmt.Sprintf("127.0.0.1:%d", ports[1])}
	file := filepath.Join(t.TempDir(), "go2rtc.yaml")
	must(t, os.WriteFile(file, fmt.Appendf(nil, `
api: {listen: %q}
rtsp: {listen: %q, username: admin, password: s3cr3t}
webrtc: {listen: "127.0.0.1:%d", ice_servers: [], candidates: ["127.0.0.1:%[3]d"], filters: {candidates: [], loopback: true}}
srtp: {listen: ""}
streams: {door: ""}
`, g.api, g.rtsp, ports[2]), 0o600))
	cmd := exec.CommandContext(t.Context(), binaries+"/go2rtc", "-config", file)
	launch(t, cmd, "go2rtc")
	g.await("go2rtc", func(string) bool { return true })
	run(t, "camera.py", "--codec", codec, "--rtsp", "rtsp://admin:s3cr3t@"+g.rtsp+"/door")
	g.await("the camera at go2rtc", func(body string) bool { return strings.Contains(body, `"packets":`) })
	return g
}

// await asks for go2rtc's streams until done likes them.
func (g *go2rtc) await(what string, done func(body string) bool) {
	g.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		if time.Now().After(deadline) {
			g.t.Fatalf("waited %v for: %s", patience, what)
		}
		res, err := http.Get("http://" + g.api + "/api/streams")
		if err != nil {
			continue
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err == nil && done(string(b)) {
			return
		}
	}
}

// watched says how many watch the stream.
func watched(n int) func(string) bool {
	return func(body string) bool { return strings.Count(body, `"senders":`) == n }
}

func TestRTSPFromGo2rtc(t *testing.T) {
	for _, codec := range []string{"pcm_mulaw", "libopus"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			g := newGo2rtc(t, codec)
			w := newWorld(t, fmt.Sprintf("{rtsp: %q}", "rtsp://admin:s3cr3t@"+g.rtsp+"/door"))
			w.known()
			person, hangup := w.calls()
			person.sees(200, 30, 30)
			person.hears(1000)
			g.await("the gateway at the stream", watched(1))
			hangup()
			g.await("the end of the gateway's watching", watched(0))
		})
	}
}

func TestRTSPFromGo2rtcWithAAC(t *testing.T) {
	t.Parallel()
	g := newGo2rtc(t, "aac")
	w := newWorld(t, fmt.Sprintf("{rtsp: %q}", "rtsp://admin:s3cr3t@"+g.rtsp+"/door"))
	w.known()
	person, hangup := w.calls()
	person.sees(200, 30, 30)
	must(t, w.alice.Await(w.ctx, "that AAC is left out", func(rooms map[string]*harness.Room) bool {
		for _, r := range rooms {
			for _, e := range r.Events {
				if e.Content.Body == "The camera also sends AAC, which calls can't carry; it is left out." {
					return true
				}
			}
		}
		return false
	}))
	hangup()
}

func TestWHEPFromGo2rtc(t *testing.T) {
	for _, codec := range []string{"pcm_mulaw", "libopus"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			g := newGo2rtc(t, codec)
			w := newWorld(t, fmt.Sprintf("{whep: %q}", "http://"+g.api+"/api/webrtc?src=door"))
			w.known()
			person, hangup := w.calls()
			person.sees(200, 30, 30)
			person.hears(1000)
			hangup()
			g.await("the end of the gateway's watching", watched(0))
		})
	}
}

// The device is FFmpeg: a port for each stream, and one on which it hears.
func TestPlainRTP(t *testing.T) {
	t.Parallel()
	ports, err := harness.FreePorts(3)
	must(t, err)
	video, audio, hears := ports[0], ports[1], ports[2]
	w := newWorld(t, fmt.Sprintf("{rtp: \"rtp://127.0.0.1:%d?video=h264&video_port=%d&audio=pcmu&audio_port=%d\"}", hears, video, audio))
	w.known()
	camera := run(t, "camera.py", "--video", fmt.Sprintf("rtp://127.0.0.1:%d?pkt_size=1200", video), "--audio", fmt.Sprintf("rtp://127.0.0.1:%d?pkt_size=1200", audio), "--hear", fmt.Sprint(hears))
	camera.says("that it sends", func(w word) bool { return w.Sends })
	person, hangup := w.calls()
	person.sees(200, 30, 30)
	person.hears(1000)
	camera.hears(700)
	hangup()
}

// The device signals as libpeer does.
func TestLibpeer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "{libpeer: /porch}")
	device := run(t, "small.py", w.broker)
	device.says("that it is connected", func(w word) bool { return w.Connected })
	person, hangup := w.calls()
	person.sees(30, 30, 200)
	person.hears(800)
	device.hears(700)
	hangup()
	device.says("that its call is over", func(w word) bool { return w.Closed })
}
