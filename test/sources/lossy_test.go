//go:build linux && interop

package sources

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

const (
	loss  = 20 // one in so many packets, each way
	delay = 100 * time.Millisecond
)

// lasts is how long the call over a bad network is: the variable FOR, or five minutes.
func lasts(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("FOR")
	if text == "" {
		return 5 * time.Minute
	}
	d, err := time.ParseDuration(text)
	must(t, err)
	return d
}

// lossy is a bad network: a UDP port that carries packets between the gateway and whoever else sends to it, later and not all.
type lossy struct {
	t     *testing.T
	conn  *net.UDPConn
	later chan late

	mu              sync.Mutex
	gateway, person netip.AddrPort
	packets, lost   int
}

// late is a packet on its way.
type late struct {
	at   time.Time
	to   netip.AddrPort
	data []byte
}

func newLossy(t *testing.T) *lossy {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	l := &lossy{t: t, conn: conn, later: make(chan late, 10_000)}
	var wg sync.WaitGroup
	wg.Go(l.read)
	wg.Go(l.write)
	t.Cleanup(func() {
		_ = conn.Close() // nothing more comes
		wg.Wait()
	})
	return l
}

func (l *lossy) read() {
	defer close(l.later)
	for buf := make([]byte, 2000); ; {
		n, from, err := l.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		l.mu.Lock()
		to := l.gateway
		if from == l.gateway {
			to = l.person
		} else {
			l.person = from
		}
		l.packets++
		drop := !to.IsValid() || rand.IntN(loss) == 0
		if drop {
			l.lost++
		}
		l.mu.Unlock()
		if !drop {
			l.later <- late{time.Now().Add(delay), to, append([]byte(nil), buf[:n]...)}
		}
	}
}

func (l *lossy) write() {
	for p := range l.later {
		<-time.After(time.Until(p.at))
		_, _ = l.conn.WriteToUDPAddrPort(p.data, p.to) // a packet more is lost
	}
}

// instead is the gateway's description with this network's address in the place of its own.
func (l *lossy) instead(sdp string) string {
	var out strings.Builder
	for line := range strings.Lines(sdp) {
		if f := strings.Fields(line); strings.HasPrefix(line, "a=candidate:") {
			if len(f) < 8 || f[1] != "1" || !strings.EqualFold(f[2], "udp") {
				continue
			}
			gateway, err := netip.ParseAddrPort(net.JoinHostPort(f[4], f[5]))
			must(l.t, err)
			l.mu.Lock()
			l.gateway = gateway
			l.mu.Unlock()
			f[5] = fmt.Sprint(l.conn.LocalAddr().(*net.UDPAddr).Port)
			line = strings.Join(f, " ") + "\r\n"
		}
		out.WriteString(line)
	}
	return out.String()
}

// withoutCandidates is a description that tells no way.
func withoutCandidates(sdp string) string {
	var out strings.Builder
	for line := range strings.Lines(sdp) {
		if !strings.HasPrefix(line, "a=candidate:") {
			out.WriteString(line)
		}
	}
	return out.String()
}

// hearing is what one side heard in a call.
type hearing struct {
	pitch     int
	all, good int // half seconds
	last      time.Time
	silence   time.Duration // the longest
}

func (h *hearing) add(now time.Time, said []word) {
	for _, w := range said {
		if w.Heard == nil {
			continue
		}
		h.all++
		if *w.Heard > h.pitch-20 && *w.Heard < h.pitch+20 {
			h.good++
			h.last = now
		}
	}
	h.silence = max(h.silence, now.Sub(h.last))
}

func (h *hearing) figures(t *testing.T, who string) {
	t.Helper()
	share := 100 * float64(h.good) / float64(max(h.all, 1))
	name := "call over a bad network, " + who
	harness.Figure(t, name+": half seconds in which the tone is right", fmt.Sprintf("%.1f", share), "%", ">= 95", share >= 95)
	harness.Figure(t, name+": longest time without the tone", fmt.Sprintf("%.1f", h.silence.Seconds()), "s", "< 5", h.silence < 5*time.Second)
}

// A call in which one packet in twenty is lost and each comes 100 ms late, both ways.
func TestBadNetwork(t *testing.T) {
	t.Parallel()
	ports, err := harness.FreePorts(3)
	must(t, err)
	video, audio, hears := ports[0], ports[1], ports[2]
	w := newWorld(t, fmt.Sprintf("{rtp: \"rtp://127.0.0.1:%d?video=h264&video_port=%d&audio=pcmu&audio_port=%d\"}", hears, video, audio))
	w.way = newLossy(t)
	w.known()
	camera := run(t, "camera.py", "--video", fmt.Sprintf("rtp://127.0.0.1:%d?pkt_size=1200", video), "--audio", fmt.Sprintf("rtp://127.0.0.1:%d?pkt_size=1200", audio), "--hear", fmt.Sprint(hears))
	camera.says("that it sends", func(w word) bool { return w.Sends })
	person, hangup := w.calls()
	person.sees(200, 30, 30)
	person.hears(1000)
	camera.hears(700)
	began := time.Now()
	alice, door := &hearing{pitch: 1000, last: began}, &hearing{pitch: 700, last: began}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for now := began; now.Sub(began) < lasts(t); now = <-tick.C {
		alice.add(now, person.take())
		door.add(now, camera.take())
	}
	person.sees(200, 30, 30)
	hangup()
	w.way.mu.Lock()
	defer w.way.mu.Unlock()
	harness.Note(t, "call over a bad network: time", lasts(t), "")
	harness.Note(t, "call over a bad network: packets lost", fmt.Sprintf("%.1f", 100*float64(w.way.lost)/float64(max(w.way.packets, 1))), "%")
	alice.figures(t, "the person")
	door.figures(t, "the device")
}
