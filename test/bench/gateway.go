package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/gatepost/gatepost/test/harness"
)

// gateway is a gatepost that is measured.
type gateway struct {
	*harness.Gatepost
	mqtt  string // host:port of its embedded broker
	admin string // host:port
	token string // opens /metrics there
	reg   harness.Registration
}

// setup says how a gateway is configured; zero fields have the meaning that is given.
type setup struct {
	homeserver harness.Homeserver // nil: an address where nobody listens
	home       string             // URL of another homeserver
	url        string             // of an outside broker; "": the embedded one
	owner      string
	rules      string
	more       string // of the configuration, in YAML
	matrix     string // more lines of that section; "": encryption is off
	maxSize    string // of the store; "": the default
	dir        string // with registration.yaml; "": a new one
	reg        harness.Registration
}

// newGateway prepares a gateway in a folder of its own.
func (b *bench) newGateway(s setup) (*gateway, error) {
	ports, err := harness.FreePorts(4)
	if err != nil {
		return nil, err
	}
	addr := func(i int) string { return fmt.Sprintf("127.0.0.1:%d", ports[i]) }
	if s.dir == "" {
		if s.dir, err = b.dir("gatepost"); err != nil {
			return nil, err
		}
		s.reg = harness.NewRegistration(ports[0])
		if err := s.reg.WriteFile(filepath.Join(s.dir, "registration.yaml"), "localhost"); err != nil {
			return nil, err
		}
	}
	g := &gateway{mqtt: addr(1), admin: addr(2), token: harness.Secret(), reg: s.reg}
	homeserver := "http://" + addr(3)
	if s.homeserver != nil {
		homeserver = s.homeserver.URL()
	} else if s.home != "" {
		homeserver = s.home
	}
	if s.matrix == "" {
		s.matrix = "  encryption: \"off\"\n"
	}
	var y strings.Builder
	fmt.Fprintf(&y, "matrix:\n  homeserver: %s\n  server_name: localhost\n  user: gatepost\n  registration: %s\n  listen: %s\n%s",
		homeserver, filepath.Join(s.dir, "registration.yaml"), strings.TrimPrefix(s.reg.URL, "http://"), s.matrix)
	if s.owner != "" {
		fmt.Fprintf(&y, "  owners: [%q]\n", s.owner)
	}
	if s.url != "" {
		fmt.Fprintf(&y, "mqtt: {url: %q}\n", s.url)
	} else {
		fmt.Fprintf(&y, "mqtt: {listen: [\"mqtt://%s\"]}\n", g.mqtt)
	}
	fmt.Fprintf(&y, "devices:\n%s%s", s.rules, s.more)
	fmt.Fprintf(&y, "store: {path: data%s}\n", prefixed(", max_size: ", s.maxSize))
	fmt.Fprintf(&y, "admin: {listen: %q, socket: data/gatepost.sock, token: %q}\n", addr(2), g.token)
	if g.Gatepost, err = harness.NewGatepost(b.program("gatepost"), s.dir, harness.Settings{Admin: addr(2)}); err != nil {
		return nil, err
	}
	return g, g.Configure(y.String())
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// errNoMetric is returned for what was never counted.
var errNoMetric = errors.New("there is no metric")

// metric sums the samples of a metric of the running gateway whose labels contain label.
func (g *gateway) metric(ctx context.Context, name, label string) (float64, error) {
	page, err := g.metrics(ctx)
	if err != nil {
		return 0, err
	}
	sum, found := 0.0, false
	for line := range strings.Lines(page) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), name)
		if !ok || rest == "" || rest[0] != '{' && rest[0] != ' ' {
			continue
		}
		i := strings.LastIndexByte(rest, ' ')
		if !strings.Contains(rest[:i], label) {
			continue
		}
		v, err := strconv.ParseFloat(rest[i+1:], 64)
		if err != nil {
			return 0, err
		}
		sum, found = sum+v, true
	}
	if !found && label == "" {
		return 0, fmt.Errorf("%w %s", errNoMetric, name)
	}
	return sum, nil
}

// metrics reads the page of the admin listener.
func (g *gateway) metrics(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+g.admin+"/metrics", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("metrics: %s", resp.Status)
	}
	return string(page), err
}

// rss is the anonymous memory of the process in MB (design: RssAnon).
func (g *gateway) rss() (float64, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", g.PID()))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "RssAnon:"); ok {
			kb, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 64)
			return kb * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("no RssAnon in %s", f.Name())
}
