package turn

import (
	"io"
	"log/slog"
	"net/netip"
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
