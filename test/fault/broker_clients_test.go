//go:build fault

package fault

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/device"
)

// pour has mosquitto_pub publish n messages with QoS 1, numbered, as "client-number" to topic, and waits until all are
// acknowledged.
func (s *site) pour(client, topic string, n int) {
	s.t.Helper()
	if err := s.mosquittoPub(client, topic, n); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) mosquittoPub(client, topic string, n int) error {
	var in, out bytes.Buffer
	for i := range n {
		fmt.Fprintf(&in, "%s-%06d\n", client, i)
	}
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(s.ctx, "mosquitto_pub", "-h", host, "-p", port, "-i", client, "-q", "1", "-t", topic, "-l")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &out
	if err := cmd.Run(); err != nil || out.Len() > 0 {
		return fmt.Errorf("mosquitto_pub %s: %w: %s", client, err, out.String())
	}
	return nil
}

// pourAll is pour with several clients at the same time, n messages in all, which must be a multiple of clients.
func (s *site) pourAll(clients int, topic string, n int) {
	s.t.Helper()
	var wg sync.WaitGroup
	errs := make(chan error, clients)
	for c := range clients {
		wg.Go(func() { errs <- s.mosquittoPub(fmt.Sprintf("pub%02d", c), topic, n/clients) })
	}
	wg.Wait()
	for range clients {
		s.ok(<-errs)
	}
}

// program is one of the clients in test/clients, which runs with paho-mqtt.
type program struct {
	stdin io.WriteCloser
	ended chan struct{}

	mu    sync.Mutex
	lines []string
}

// paho starts one until the test ends.
func (s *site) paho(script string, args ...string) *program {
	s.t.Helper()
	python, err := filepath.Abs("../../bin/paho-venv/bin/python")
	s.ok(err)
	_, port, err := net.SplitHostPort(s.addr)
	s.ok(err)
	cmd := exec.CommandContext(s.ctx, python, append([]string{filepath.Join("..", "clients", script), port}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var errors bytes.Buffer
	cmd.Stderr = &errors
	p := &program{ended: make(chan struct{})}
	p.stdin, err = cmd.StdinPipe()
	s.ok(err)
	stdout, err := cmd.StdoutPipe()
	s.ok(err)
	if err := cmd.Start(); err != nil {
		s.t.Fatalf("%v: make bin/paho-venv/installed makes what is needed", err)
	}
	go func() {
		defer close(p.ended)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, in.Text())
			p.mu.Unlock()
		}
		if err := cmd.Wait(); err != nil && s.ctx.Err() == nil {
			s.t.Errorf("%s %v: %v\n%s", script, args, err, errors.String())
		}
	}()
	s.t.Cleanup(p.leave)
	return p
}

// leave lets the program end politely and waits for it.
func (p *program) leave() {
	_ = p.stdin.Close() // it may have ended already
	<-p.ended
}

// said are the lines that begin with word, without it.
func (p *program) said(word string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []string
	for _, line := range p.lines {
		if rest, found := strings.CutPrefix(line, word+" "); found {
			out = append(out, rest)
		}
	}
	return out
}

// receipts count what a subscriber gets of publishers whose messages are "publisher-number", the numbers of one publisher
// being of the same width. Safe for concurrent use.
type receipts struct {
	mu       sync.Mutex
	times    map[string]int
	last     map[string]string // of each publisher: the highest that came
	total    int
	disorder int // first arrivals behind a higher number of the same publisher
	marked   int // with DUP
}

func newReceipts() *receipts { return &receipts{times: map[string]int{}, last: map[string]string{}} }

func (c *receipts) add(payload string, dup bool) {
	if payload == hello {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total++
	if dup {
		c.marked++
	}
	if c.times[payload]++; c.times[payload] > 1 {
		return
	}
	publisher, _, _ := strings.Cut(payload, "-")
	if payload < c.last[publisher] {
		c.disorder++
		return
	}
	c.last[publisher] = payload
}

// hello is the payload of messages that only show that a subscription is there.
const hello = "hello-0"

// addLines takes the message lines of subscribe.py.
func (c *receipts) addLines(lines []string) {
	for _, line := range lines {
		f := strings.Fields(line) // QOS DUP RETAIN TOPIC PAYLOAD
		c.add(f[4], f[1] == "1")
	}
}

func (c *receipts) distinct() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.times)
}

func (c *receipts) again() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total - len(c.times)
}

// missing are the payloads of acked that never came.
func (c *receipts) missing(acked []string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, payload := range acked {
		if c.times[payload] == 0 {
			n++
		}
	}
	return n
}

// mosquitto runs mosquitto_pub or mosquitto_sub and returns what it writes.
func (s *site) mosquitto(which string, args ...string) string {
	s.t.Helper()
	host, port, err := net.SplitHostPort(s.addr)
	s.ok(err)
	out, err := exec.CommandContext(s.ctx, "mosquitto_"+which, append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("mosquitto_%s %q: %v: %s", which, args, err, out)
	}
	return string(out)
}

// read takes messages from a raw client and acknowledges them, QoS 2 included, until n different ones are there or nothing
// has come for a while.
func (c *receipts) read(t *testing.T, r *device.Raw, n int) {
	t.Helper()
	for c.distinct() < n && c.take(t, r, quiet) {
	}
}

// take waits for one packet and acknowledges it; false when none came.
func (c *receipts) take(t *testing.T, r *device.Raw, patience time.Duration) bool {
	t.Helper()
	p, err := r.Next(patience)
	if err != nil {
		return false
	}
	switch p.Kind {
	case device.Publish:
		m, id, err := p.Message()
		if err != nil {
			t.Fatal(err)
		}
		c.add(string(m.Payload), m.Duplicate)
		if m.QoS > 0 {
			_ = r.Ack(map[byte]byte{1: device.Puback, 2: device.Pubrec}[m.QoS], id) // a broken connection shows in Next
		}
	case device.Pubrel:
		_ = r.Ack(device.Pubcomp, p.ID()) // likewise
	}
	return true
}
