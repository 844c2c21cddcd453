package relay

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// Server is a running TURN server.
type Server struct {
	Name   string
	Addr   netip.AddrPort // of its first listener
	Config string         // gatepost's configuration file; "" for others
	Socket string         // gatepost's control socket; "" for others

	cmd    *exec.Cmd
	log    *os.File
	done   chan struct{} // closed when it has ended
	prefix []string      // of commands that are to run where it runs
}

// ErrNotThere is when the program of a server is not on this machine.
var ErrNotThere = errors.New("relay: not on this machine")

// readyTime is how long a server may take until it answers.
const readyTime = 20 * time.Second

// Gatepost runs the program binary with nothing but a turn section, and waits until it is ready.
func Gatepost(ctx context.Context, binary string, o Options) (*Server, error) {
	secret, err := o.write("turn.secret", o.Secret+"\n")
	if err != nil {
		return nil, err
	}
	config, err := o.write("gatepost.yaml", o.yaml(secret))
	if err != nil {
		return nil, err
	}
	s, err := start(ctx, o, "gatepost", binary, "run", "--config", config)
	if err != nil {
		return nil, err
	}
	s.Config, s.Socket = config, o.socket()
	return s, s.await(ctx, "msg=ready")
}

// Coturn runs Debian's turnserver. What it keeps of itself (a database, a console) is off, which makes it faster.
func Coturn(ctx context.Context, o Options) (*Server, error) {
	binary := Find("turnserver")
	if binary == "" {
		return nil, fmt.Errorf("%w: turnserver (the package coturn)", ErrNotThere)
	}
	all, err := o.endpoints()
	if err != nil {
		return nil, err
	}
	first, last := o.ports()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	args := []string{
		"-n", "--no-cli", "--no-rfc5780", "--lt-cred-mech", "--use-auth-secret", "--static-auth-secret=" + o.Secret, "--realm=" + o.Realm,
		fmt.Sprintf("--min-port=%d", first), fmt.Sprintf("--max-port=%d", last), "--log-file=stdout", "--simple-log",
		"--pidfile=" + filepath.Join(o.Dir, "pid"), "--userdb=" + filepath.Join(o.Dir, "turndb"), "--no-dtls",
	}
	if slices.ContainsFunc(o.Peers, func(p string) bool { return strings.HasPrefix(p, "127.") || strings.HasPrefix(p, "::1") }) {
		args = append(args, "--allow-loopback-peers")
	}
	if o.Threads > 0 {
		args = append(args, fmt.Sprintf("--relay-threads=%d", o.Threads))
	}
	if o.Cert != "" {
		args = append(args, "--cert="+o.Cert, "--pkey="+o.Key)
	}
	tls := false
	var at []string
	for _, e := range all {
		port := "--listening-port"
		if e.network == "tls" {
			port, tls = "--tls-listening-port", true
		}
		args = append(args, fmt.Sprintf("%s=%d", port, e.at.Port()))
		if ip := e.at.Addr().String(); !slices.Contains(at, ip) {
			at = append(at, ip)
		}
	}
	for _, ip := range at {
		args = append(args, "--listening-ip="+ip)
	}
	for _, a := range o.Relay {
		args = append(args, "--relay-ip="+a.String())
	}
	if !tls {
		args = append(args, "--no-tls")
	}
	s, err := start(ctx, o, "coturn", binary, args...)
	if err != nil {
		return nil, err
	}
	return s, s.probe(ctx, all[0].network)
}

// Pion runs the pionserver of test/turnbench; its first listener must be udp.
func Pion(ctx context.Context, binary string, o Options) (*Server, error) {
	secret, err := o.write("turn.secret", o.Secret)
	if err != nil {
		return nil, err
	}
	all, err := o.endpoints()
	if err != nil {
		return nil, err
	}
	first, last := o.ports()
	s, err := start(ctx, o, "pion", binary, "-listen", all[0].at.String(), "-relay", o.Relay[0].String(), "-realm", o.Realm,
		"-first", fmt.Sprint(first), "-last", fmt.Sprint(last), "-secret-file", secret)
	if err != nil {
		return nil, err
	}
	return s, s.probe(ctx, "udp")
}

// Find looks for a program of the system, also where only root's PATH goes.
func Find(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, dir := range []string{"/usr/sbin", "/sbin", "/usr/local/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path
		}
	}
	return ""
}

func start(ctx context.Context, o Options, name, binary string, args ...string) (*Server, error) {
	all, err := o.endpoints()
	if err != nil {
		return nil, err
	}
	s := &Server{Name: name, Addr: all[0].at, done: make(chan struct{})}
	if o.Netns != "" {
		s.prefix = []string{Find("ip"), "netns", "exec", o.Netns}
	}
	line := append(slices.Clone(s.prefix), binary)
	if o.Cores != "" {
		line = append(slices.Clone(s.prefix), Find("taskset"), "-c", o.Cores, binary)
	}
	line = append(line, args...)
	if s.log, err = os.OpenFile(filepath.Join(o.Dir, name+".log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	// Not bound to ctx: it is asked to stop, in Stop, and does not outlive us.
	s.cmd = exec.Command(line[0], line[1:]...) // ip and taskset become the program, so the process is its own
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr, s.cmd.SysProcAttr = o.Dir, s.log, s.log, childAttributes()
	if err := s.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("relay: start %s: %w", name, err), s.log.Close())
	}
	go func() {
		_ = s.cmd.Wait() // what it ended with is in ProcessState
		close(s.done)
	}()
	return s, ctx.Err()
}

// PID of the server.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Running says whether it has not ended.
func (s *Server) Running() bool {
	select {
	case <-s.done:
		return false
	default:
		return true
	}
}

// Signal sends it a signal.
func (s *Server) Signal(sig syscall.Signal) error { return s.cmd.Process.Signal(sig) }

// Stop asks it to end and returns its exit code, -1 if a signal ended it. One that takes longer than grace is killed,
// which is an error.
func (s *Server) Stop(grace time.Duration) (int, error) {
	defer s.log.Close()
	if s.Running() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended meanwhile
	}
	select {
	case <-s.done:
		return s.cmd.ProcessState.ExitCode(), nil
	case <-time.After(grace):
		_ = s.cmd.Process.Kill() // as above
		<-s.done
		return -1, fmt.Errorf("relay: %s did not stop within %v and was killed", s.Name, grace)
	}
}

// Log is what it wrote; a server that ran in the same folder before is not in it.
func (s *Server) Log() string {
	b, err := os.ReadFile(s.log.Name())
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Tail is the end of the log.
func (s *Server) Tail() string {
	lines := strings.Split(strings.TrimSpace(s.Log()), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// Command prepares a program that runs where the server runs, in its network namespace.
func (s *Server) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	line := append(slices.Clone(s.prefix), name)
	line = append(line, args...)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.SysProcAttr = childAttributes()
	return cmd
}
