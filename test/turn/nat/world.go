//go:build linux

package nat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/gatepost/gatepost/test/turn/relay"
)

// Kind is what the NATs do.
type Kind string

// The kinds. All drop what comes unasked, as home routers do.
const (
	Cone      Kind = "cone"      // keep the port: holes can be punched
	Symmetric Kind = "symmetric" // another port for each destination: only a relay helps
	NoUDP     Kind = "no udp"    // and no UDP leaves: only a relay over TCP helps
)

// Addresses of the world.
const (
	Server  = "198.51.100.1"   // of wan
	Outside = "203.0.113.0/24" // of the NATs
)

// World is a running one.
type World struct {
	Kind   Kind
	prefix string
}

// hosts, with the NATs.
func hosts() []string { return []string{"wan", "nata", "natb", "a", "b"} }

const namePrefix = "gatepost-turn-"

// ErrMissing is when the machine lacks what a World needs; it says what.
var ErrMissing = errors.New("nat: missing")

// Check says what is missing here, nil if nothing is.
func Check() error {
	var missing []string
	if os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	for program, name := range map[string]string{"ip": "iproute2", "nft": "nftables", "sysctl": "procps"} {
		if relay.Find(program) == "" {
			missing = append(missing, program+" (the package "+name+")")
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w: %s", ErrMissing, strings.Join(missing, ", "))
	}
	return nil
}

// Up makes a world. Take it down in every case.
func Up(ctx context.Context, kind Kind) (*World, error) {
	if err := Check(); err != nil {
		return nil, err
	}
	removeStale(ctx)
	w := &World{Kind: kind, prefix: fmt.Sprintf("%s%d-", namePrefix, os.Getpid())}
	if err := w.make(ctx); err != nil {
		return nil, errors.Join(err, w.Down())
	}
	return w, nil
}

// Down removes the namespaces; programs in them go on without a network.
func (w *World) Down() error {
	var err error
	for _, h := range hosts() {
		if _, gone := os.Stat("/run/netns/" + w.Netns(h)); gone == nil {
			err = errors.Join(err, run(context.Background(), "ip", "netns", "del", w.Netns(h)))
		}
	}
	return err
}

// removeStale takes down what processes left that are no more.
func removeStale(ctx context.Context) {
	list, _ := os.ReadDir("/run/netns") // not there: nothing is stale
	for _, e := range list {
		rest, ours := strings.CutPrefix(e.Name(), namePrefix)
		pid, _, _ := strings.Cut(rest, "-")
		if _, err := os.Stat("/proc/" + pid); ours && err != nil {
			_ = run(ctx, "ip", "netns", "del", e.Name()) // somebody else may have been faster
		}
	}
}

// Netns is the name of a host's namespace: wan, a, b, nata or natb.
func (w *World) Netns(host string) string { return w.prefix + host }

// Command prepares a program on a host.
func (w *World) Command(ctx context.Context, host, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, relay.Find("ip"), append([]string{"netns", "exec", w.Netns(host), name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Direct is how many packets went from one side to the other past the server's own sockets.
func (w *World) Direct(ctx context.Context) (int, error) {
	cmd := w.Command(ctx, "wan", relay.Find("nft"), "list", "table", "ip", "direct")
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("nat: count: %w", err)
	}
	sum := 0
	all := regexp.MustCompile(`counter packets (\d+)`).FindAllSubmatch(out, -1)
	if len(all) != 2 {
		return 0, fmt.Errorf("nat: %d counters in %s", len(all), out)
	}
	for _, m := range all {
		n, err := strconv.Atoi(string(m[1]))
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// Dial connects from a host. The address is a literal one.
func (w *World) Dial(ctx context.Context, host, network, addr string) (net.Conn, error) {
	return within(w, host, func() (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	})
}

// Listen listens on a host. The address is a literal one.
func (w *World) Listen(ctx context.Context, host, network, addr string) (net.Listener, error) {
	return within(w, host, func() (net.Listener, error) {
		var c net.ListenConfig
		return c.Listen(ctx, network, addr)
	})
}

// ListenPacket takes packets on a host. The address is a literal one.
func (w *World) ListenPacket(ctx context.Context, host, network, addr string) (net.PacketConn, error) {
	return within(w, host, func() (net.PacketConn, error) {
		var c net.ListenConfig
		return c.ListenPacket(ctx, network, addr)
	})
}

// CutUDP lets no UDP packet through the NAT of side a or b any more, until MendUDP.
func (w *World) CutUDP(ctx context.Context, side string) error {
	return run(ctx, "ip", "netns", "exec", w.Netns("nat"+side), relay.Find("nft"),
		"add table ip cut; add chain ip cut f { type filter hook forward priority -10; }; add rule ip cut f meta l4proto udp drop")
}

// MendUDP takes back CutUDP.
func (w *World) MendUDP(ctx context.Context, side string) error {
	return run(ctx, "ip", "netns", "exec", w.Netns("nat"+side), relay.Find("nft"), "delete table ip cut")
}

// within runs open on a host: sockets that the very goroutine opens belong there for good.
func within[T any](w *World, host string, open func() (T, error)) (got T, err error) {
	runtime.LockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return got, err
	}
	defer home.Close()
	there, err := os.Open("/run/netns/" + w.Netns(host))
	if err != nil {
		runtime.UnlockOSThread()
		return got, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return got, fmt.Errorf("nat: enter %s: %w", host, err)
	}
	got, err = open()
	if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
		return got, errors.Join(err, fmt.Errorf("nat: leave %s: %w", host, back)) // the thread stays locked, and ends with the goroutine
	}
	runtime.UnlockOSThread()
	return got, err
}

func run(ctx context.Context, name string, args ...string) error {
	path := relay.Find(name)
	if path == "" {
		return fmt.Errorf("%w: %s", ErrMissing, name)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("nat: %s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(out.String()))
	}
	return nil
}
