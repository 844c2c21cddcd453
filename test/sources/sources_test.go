//go:build linux && interop

package sources

import (
	"context"
	"fmt"
	"io"
	"net"
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
	file      string
	stop      func()
}

// newGo2rtc runs it until the end of the test; flags are camera.py's, and more is another producer of the stream, if it has one.
func newGo2rtc(t *testing.T, more string, flags ...string) *go2rtc {
	t.Helper()
	if _, err := os.Stat(binaries + "/go2rtc"); err != nil {
		absent(t, "go2rtc (make bin/go2rtc)")
	}
	ports, err := harness.FreePorts(3)
	must(t, err)
	at := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	g := &go2rtc{t: t, api: at(0), rtsp: at(1), file: filepath.Join(t.TempDir(), "go2rtc.yaml")}
	must(t, os.WriteFile(g.file, fmt.Appendf(nil, `
api: {listen: %q}
rtsp: {listen: %q, username: admin, password: s3cr3t}
webrtc: {listen: %q, ice_servers: [], candidates: [%[3]q], filters: {candidates: [], loopback: true}}
srtp: {listen: ""}
streams: {door: ["", %q]}
`, g.api, g.rtsp, at(2), more), 0o600))
	g.start(flags...)
	return g
}

// start begins with a new camera.
func (g *go2rtc) start(flags ...string) {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.t.Context())
	cmd := exec.CommandContext(ctx, binaries+"/go2rtc", "-config", g.file)
	g.stop = cancel
	launch(g.t, cmd, "go2rtc")
	g.await("go2rtc", func(string) bool { return true })
	run(g.t, "camera.py", append(flags, "--rtsp", g.url())...)
	g.await("the camera at go2rtc", func(body string) bool { return strings.Contains(body, `"packets":`) })
}

func (g *go2rtc) url() string { return "rtsp://admin:s3cr3t@" + g.rtsp + "/door" }

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
			g := newGo2rtc(t, "", "--codec", codec)
			w := newWorld(t, fmt.Sprintf("{rtsp: %q}", g.url()))
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
	g := newGo2rtc(t, "", "--codec", "aac")
	w := newWorld(t, fmt.Sprintf("{rtsp: %q}", g.url()))
	w.known()
	person, hangup := w.calls()
	person.sees(200, 30, 30)
	w.told("The camera also sends AAC, which calls can't carry; it is left out.")
	hangup()
}

func TestRTSPFromGo2rtcWithH265(t *testing.T) {
	t.Parallel()
	g := newGo2rtc(t, "", "--picture", "libx265")
	w := newWorld(t, fmt.Sprintf("{rtsp: %q}", g.url()))
	w.known()
	person, hangup := w.calls("--sound-alone") // aiortc can't take an answer that refuses one of two
	person.hears(1000)
	w.told("The camera's picture is H265, which the person's client does not take; the call has sound alone.")
	hangup()
}

// The camera breaks off in the middle of a call, and comes back.
func TestRTSPFromGo2rtcAgain(t *testing.T) {
	t.Parallel()
	g := newGo2rtc(t, "")
	w := newWorld(t, fmt.Sprintf("{rtsp: %q}", g.url()))
	w.known()
	person, hangup := w.calls()
	person.sees(200, 30, 30)
	person.hears(1000)
	g.stop()
	w.told("The camera is gone; trying to get it back.")
	g.start()
	w.told("The camera is back.")
	person.take()
	person.sees(200, 30, 30)
	person.hears(1000)
	hangup()
}

// The person is heard at the camera: go2rtc hands the sound on to a program.
func TestTwoWayWHEPFromGo2rtc(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() }) // nothing more comes
	python, err := filepath.Abs(binaries + "/intercom-venv/bin/python")
	must(t, err)
	program, err := filepath.Abs("ear.py")
	must(t, err)
	g := newGo2rtc(t, fmt.Sprintf("exec:%s -B %s %s#backchannel=1#audio=pcmu/8000", python, program, l.Addr()))
	ear := &script{t: t, name: "ear.py"}
	go func() {
		if c, err := l.Accept(); err == nil {
			ear.read(c)
			_ = c.Close() // nothing more comes
		}
	}()
	w := newWorld(t, fmt.Sprintf("{whep: %q}", "http://"+g.api+"/api/webrtc?src=door"))
	w.known()
	person, hangup := w.calls()
	person.sees(200, 30, 30)
	person.hears(1000)
	ear.hears(700)
	hangup()
}

func TestWHEPFromGo2rtc(t *testing.T) {
	for _, codec := range []string{"pcm_mulaw", "libopus"} {
		t.Run(codec, func(t *testing.T) {
			t.Parallel()
			g := newGo2rtc(t, "", "--codec", codec)
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
