package source

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
	"go.uber.org/goleak"

	"github.com/gatepost/gatepost/voip/media"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 10 * time.Second

// call is a call with a source, as far as the source can tell.
type call struct {
	t       *testing.T
	src     media.Source
	tracks  []media.Track
	without media.Codec // the person's client does not take it
	ended   chan error
	got     chan packet
	said    chan string
}

type packet struct {
	track int
	rtp.Packet
}

// open opens src, which must work.
func open(t *testing.T, src media.Source) *call {
	t.Helper()
	c := &call{t: t, src: src, ended: make(chan error, 1), got: make(chan packet, 1000), said: make(chan string, 100)}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var err error
	if c.tracks, err = src.Open(ctx); err != nil {
		_ = src.Close()
		t.Fatal(err)
	}
	return c
}

// start runs an open source until the end of the test.
func (c *call) start() {
	ctx, cancel := context.WithCancel(context.Background())
	link := media.Link{Say: func(s string) { c.said <- s }, Send: func(track int, p *rtp.Packet) {
		q := packet{track, *p}
		q.Payload = bytes.Clone(p.Payload)
		select {
		case c.got <- q:
		default:
		}
	}}
	for _, t := range c.tracks {
		codec := t.Codecs[0]
		if codec == c.without {
			codec = media.Codec{}
		}
		link.Codecs = append(link.Codecs, codec)
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.ended <- c.src.Run(ctx, link) })
	c.t.Cleanup(func() {
		cancel()
		wg.Wait()
		if err := c.src.Close(); err != nil {
			c.t.Error(err)
		}
	})
}

// gets waits for a packet that want likes.
func (c *call) gets(what string, want func(packet) bool) packet {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case p := <-c.got:
			if want(p) {
				return p
			}
		case err := <-c.ended:
			c.t.Fatalf("%s: the source ended: %v", what, err)
		case <-deadline:
			c.t.Fatalf("%s never came", what)
		}
	}
}

func (c *call) hears(want string) {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case s := <-c.said:
			if s == want {
				return
			}
		case <-deadline:
			c.t.Fatalf("%q was never said", want)
		}
	}
}

// fails opens src, which must not work, and gives the words for people and the whole.
func fails(t *testing.T, src media.Source) (words, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := src.Open(ctx)
	if cerr := src.Close(); cerr != nil {
		t.Error(cerr)
	}
	var f *media.Failure
	if !errors.As(err, &f) {
		t.Fatalf("%v has no words for people", err)
	}
	if f.Text == "" || !strings.HasSuffix(f.Text, ".") {
		t.Errorf("words %q", f.Text)
	}
	return f.Text, err.Error()
}

// every calls f every few milliseconds until the end of the test.
func every(t *testing.T, f func(n int)) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
				f(n)
			case <-stop:
				return
			}
		}
	})
	t.Cleanup(func() { close(stop); wg.Wait() })
}

// logged is a logger and what it wrote. Safe for concurrent use.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// freePort is a UDP port that is free now.
func freePort(t *testing.T) int {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return c.LocalAddr().(*net.UDPAddr).Port
}

func port(n int) string { return strconv.Itoa(n) }
