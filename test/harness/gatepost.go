package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// Gatepost is the built program with a configuration file in a folder of its own.
type Gatepost struct {
	*Process
	Dir    string // the store is in Dir/data
	Config string // the configuration file

	binary string
	admin  string // URL of the admin listener
}

// NewGatepost prepares the program binary in dir, which must exist, with the configuration s.
func NewGatepost(binary, dir string, s Settings) (*Gatepost, error) {
	binary, err := filepath.Abs(binary)
	if err != nil {
		return nil, err
	}
	g := &Gatepost{Dir: dir, Config: filepath.Join(dir, "gatepost.yaml"), binary: binary, admin: "http://" + s.Admin}
	if err := g.Configure(s.YAML()); err != nil {
		return nil, err
	}
	g.Process, err = newProcess("gatepost", binary, dir, nil, "run", "--config", g.Config)
	return g, err
}

// Configure replaces the configuration file; a running gatepost reads it at Reload.
func (g *Gatepost) Configure(yaml string) error {
	return os.WriteFile(g.Config, []byte(yaml), 0o600)
}

// Start runs it and returns when it says that it is ready.
func (g *Gatepost) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	n := g.log.Len()
	if err := g.start(); err != nil {
		return err
	}
	return g.awaitLine(ctx, n, "msg=ready")
}

// Launch runs it without waiting for anything: for starts that are to fail or to take long.
func (g *Gatepost) Launch() error { return g.start() }

// Reload asks it to read its configuration again (SIGHUP).
func (g *Gatepost) Reload() error { return g.Signal(syscall.SIGHUP) }

// Get reads a page of the admin listener (/healthz, /readyz, /metrics).
func (g *Gatepost) Get(ctx context.Context, path string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.admin+path, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// Metrics reads the metrics through the control socket, which asks for no token.
func (g *Gatepost) Metrics(ctx context.Context) (string, error) {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(g.Dir, "data", "gatepost.sock"))
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gatepost/metrics", nil)
	if err != nil {
		return "", err
	}
	resp, err := client.Do(req)
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

// Result is how a subcommand ended.
type Result struct {
	Code   int
	Stdout string
	Stderr string
}

// Do runs a subcommand with the same configuration and waits for its end. Only a command that could not be run at all
// is an error.
func (g *Gatepost) Do(ctx context.Context, args ...string) (Result, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, g.binary, append(args, "--config", g.Config)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = g.Dir, &stdout, &stderr, childAttributes()
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return Result{}, fmt.Errorf("gatepost %v: %w", args, err)
	}
	return Result{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String()}, ctx.Err()
}
