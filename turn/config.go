package turn

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/internal/metrics"
)

// Config says how a Server runs. Required are Listen, Realm and one of Secrets and Users; every other zero value is usable.
type Config struct {
	// Listen are the addresses for clients, as URLs with an IP address and a port: udp://0.0.0.0:3478, tcp://, tls://.
	// Port 0 picks one. tls needs CertFile and KeyFile.
	Listen []string
	// PublicIP are the addresses that peers see. Empty: those of Listen, or where that is unspecified the address the host
	// reaches the Internet with. An address the host does not have is that of a 1:1 NAT in front of it.
	PublicIP []netip.Addr
	// Realm of the credentials, 1 to 60 bytes. Longer ones would make the answer to a stranger larger than it may be.
	Realm string
	// Secrets are shared with the homeserver, which mints credentials with one of them (Mint). Several: while one takes
	// the place of another. Never logged.
	Secrets []string
	// Users have passwords of their own, which never expire.
	Users []User
	// CertFile and KeyFile are PEM files, read again when they change.
	CertFile, KeyFile string
	// RelayPorts are the ports of relayed addresses. Zero: 49152-65535.
	RelayPorts Ports
	// AllowPeers opens ranges that are refused by default; never addresses of this host, save those in 127.0.0.0/8 and ::1.
	AllowPeers []netip.Prefix
	// Drain is how long allocations may go on after Run was asked to stop. 0: they end at once.
	Drain time.Duration
	// Limits bound what users and strangers may do.
	Limits Limits
	// Workers share the clients of UDP among them. 0: 1, which is best until one core is busy.
	Workers int
	// MediaPort is a UDP port of this host that peers may be at although they are at an address of the host: the gateway's
	// own media. 0: none.
	MediaPort uint16
	// OnEnd is told of each allocation that ended. It is called from the worker that had it, so it must not block. nil: nobody.
	OnEnd func(Ended)

	Log     *slog.Logger      // nil: silent
	Metrics *metrics.Registry // nil: none
	Now     func() time.Time  // nil: time.Now
	Rand    io.Reader         // source of ports, tokens and nonce key; nil: crypto/rand
}

// User is a static user.
type User struct {
	Name     string // not empty, at most 508 bytes
	Password string // not empty; never logged
}

// Ports are the UDP ports from First to Last, both included. The zero value stands for the default.
type Ports struct{ First, Last uint16 }

// Limits bound what users and strangers may do. A field that is 0 has the default beside it.
type Limits struct {
	Allocations           int   // of all users; 10 000
	AllocationsPerUser    int   // 8
	Permissions           int   // of all users; 10 for each of Allocations
	PermissionsPerUser    int   // 128
	Channels              int   // of all users; 10 for each of Allocations
	ChannelsPerUser       int   // 128
	BytesPerSecondPerUser int64 // relayed payload, both directions together; 4 000 000
	Connections           int   // TCP and TLS; 2 000
	ConnectionsPerIP      int   // TCP and TLS; 64
	AnswersPerSource      int   // a second, to strangers of one IPv4 /24 or IPv6 /64; 100
	Answers               int   // a second, to all strangers; 5 000
}

// Hard bounds of one allocation, whatever the quotas say: the packet path looks through them one by one.
const (
	maxPermissions = 64
	maxChannels    = 64
)

const maxRealm = 60

// checked is cfg with its defaults filled in; the error, if any, has all mistakes and is ErrConfig.
func (cfg Config) checked() (Config, error) {
	var errs []error
	bad := func(format string, values ...any) {
		errs = append(errs, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, values...)...))
	}
	if len(cfg.Listen) == 0 {
		bad("Listen is empty")
	}
	for _, text := range cfg.Listen {
		over, _, err := parseListen(text)
		if err != nil {
			errs = append(errs, err)
		} else if over == overTLS && (cfg.CertFile == "" || cfg.KeyFile == "") {
			bad("Listen %q needs CertFile and KeyFile", text)
		}
	}
	for _, a := range cfg.PublicIP {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
			bad("PublicIP %s is not an address that peers could reach", a)
		}
	}
	if cfg.Realm == "" || len(cfg.Realm) > maxRealm {
		bad("Realm has %d bytes; it needs 1 to %d", len(cfg.Realm), maxRealm)
	}
	if len(cfg.Secrets) == 0 && len(cfg.Users) == 0 {
		bad("neither Secrets nor Users: nobody could use the server")
	}
	if slices.Contains(cfg.Secrets, "") {
		bad("one of Secrets is empty")
	}
	names := map[string]bool{}
	for _, u := range cfg.Users {
		if u.Name == "" || len(u.Name) > maxUsername || u.Password == "" || names[u.Name] {
			bad("user %q has no proper name, no password, or is named twice", u.Name)
		}
		names[u.Name] = true
	}
	if cfg.RelayPorts == (Ports{}) {
		cfg.RelayPorts = Ports{First: 49152, Last: 65535}
	}
	if cfg.RelayPorts.First == 0 || cfg.RelayPorts.First > cfg.RelayPorts.Last {
		bad("RelayPorts %d-%d is no range", cfg.RelayPorts.First, cfg.RelayPorts.Last)
	}
	if cfg.Drain < 0 || cfg.Workers < 0 {
		bad("Drain or Workers is negative")
	}
	if err := cfg.Limits.fill(); err != nil {
		errs = append(errs, err)
	}
	cfg.Workers = max(cfg.Workers, 1)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	return cfg, errors.Join(errs...)
}

// fill puts the defaults in place of what is 0.
func (l *Limits) fill() error {
	or := func(field *int, byDefault int) {
		if *field == 0 {
			*field = byDefault
		}
	}
	or(&l.Allocations, 10_000)
	or(&l.AllocationsPerUser, 8)
	or(&l.Permissions, 10*l.Allocations)
	or(&l.PermissionsPerUser, 128)
	or(&l.Channels, 10*l.Allocations)
	or(&l.ChannelsPerUser, 128)
	or(&l.Connections, 2_000)
	or(&l.ConnectionsPerIP, 64)
	or(&l.AnswersPerSource, 100)
	or(&l.Answers, 5_000)
	if l.BytesPerSecondPerUser == 0 {
		l.BytesPerSecondPerUser = 4_000_000
	}
	least := min(l.Allocations, l.AllocationsPerUser, l.Permissions, l.PermissionsPerUser, l.Channels, l.ChannelsPerUser,
		l.Connections, l.ConnectionsPerIP, l.AnswersPerSource, l.Answers)
	if least < 0 || l.BytesPerSecondPerUser < 0 {
		return fmt.Errorf("%w: one of Limits is negative", ErrConfig)
	}
	return nil
}

// parseListen reads one of Config.Listen.
func parseListen(text string) (transport, netip.AddrPort, error) {
	scheme, rest, _ := strings.Cut(text, "://")
	over, ok := map[string]transport{"udp": overUDP, "tcp": overTCP, "tls": overTLS}[scheme]
	at, err := netip.ParseAddrPort(rest)
	if !ok || err != nil {
		return 0, netip.AddrPort{}, fmt.Errorf("%w: Listen %q is not udp://, tcp:// or tls:// with an IP address and a port", ErrConfig, text)
	}
	return over, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}
