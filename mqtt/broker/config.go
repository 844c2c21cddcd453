package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/gatepost/gatepost/internal/metrics"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// Config says how a Broker runs. Listeners and Deliver are required.
type Config struct {
	// Listeners are URLs: mqtt, mqtts, ws or wss, then host and port. The port defaults to 1883, 8883, 80 and 443; 0 picks
	// a free one. No host means all addresses. A path (ws and wss) is then the only one that is served.
	Listeners []string
	// CertFile and KeyFile are PEM files, for mqtts and wss. They are read again when they change; while the new ones are
	// not usable the old ones stay.
	CertFile, KeyFile string

	// Accounts may log in. Without any, everybody who can connect may do everything, and listening beyond loopback needs
	// Anonymous. With accounts Anonymous has no effect.
	Accounts  []Account
	Anonymous bool
	// ClientCAFile has the PEM certificates that sign those of clients, for mqtts and wss: who shows one must prove that
	// it is his. It is read again when it changes. "": clients are not asked.
	ClientCAFile string
	// Origins are those of pages that browsers may connect from over WebSocket, besides pages of the listener's own host and
	// port: scheme, host and port, as RFC 6454 section 6.2 writes them.
	Origins []string

	// Deliver takes a message that a client has published, and returns nil when it is safe: only then the client gets its
	// acknowledgement. It is called from many goroutines, and may block: the client waits meanwhile. ctx ends 1 s after
	// Run was asked to stop; Deliver must return then. The payload is read-only and may be kept.
	Deliver func(ctx context.Context, m topic.Message) error
	// Wants tells which topics are to be delivered; the rest goes to MQTT clients only. Nil means all. It is called for
	// every message from many goroutines, and must not block.
	Wants func(topic string) bool

	// Store keeps what clients must not lose; see Buckets. It is closed after Run has returned.
	Store Store

	MaxPayload int      // bytes of one message, both ways; 0 means 4 MiB
	Limits     Limits   // the zero value is usable, as are the next two
	Queue      Queue    // bounds what waits for one session
	Retained   Capacity // bounds what is retained of all topics

	Version string            // told under $SYS; "" means "gatepost"
	Log     *slog.Logger      // nil: silent
	Metrics *metrics.Registry // nil: none
}

// Limits bound what clients can take. Each zero value means the default.
type Limits struct {
	Connections   int           // at the same time; 10 000
	PerAddress    int           // at the same time from one address (IPv6: from one /64); 2 000
	Sessions      int           // connected or not; 20 000
	ConnectTime   time.Duration // from the connection to the end of CONNECT; 10 s
	LoginFailures int           // a minute, of one user from one address; ten times that of all users from it; 10
	WriteBuffer   int           // bytes that wait for one client; 1 MiB
	SlowTime      time.Duration // how long a client may read nothing while something waits for it; 30 s
	MemoryQueue   int           // bytes of QoS 1 and 2 messages that wait for a client whose session is not stored; 4 MiB
	SessionExpiry time.Duration // after which a session whose client does not come back ends; 30 days
	Subscriptions int           // of one session; 10 000
	WillGrace     time.Duration // after a start, before the wills of clients that do not come back are sent; 10 s
	StallTime     time.Duration // how long a client whose message has no room stays connected; 3 s
}

// Capacity is how much is kept of something. Each zero value means the default.
type Capacity struct {
	Messages int   // 100 000 in a queue, 50 000 retained
	Bytes    int64 // of topics and payloads; 64 MiB
}

// Queue bounds what waits for one session: messages of QoS 1 and 2 that its client has not acknowledged.
type Queue struct {
	Capacity
	// Refuse keeps all that is in a full queue and takes no more messages for it: who publishes one gets no acknowledgement
	// (MQTT 5: reason 0x97), and nobody gets the message. Otherwise the oldest that has not been sent gives way.
	Refuse bool
}

const (
	defaultMaxPayload = 4 << 20
	largestPayload    = 256<<20 - 1 - packetOverhead // MQTT 3.1.1 section 2.2.3

	packetOverhead = 128 << 10 // what a PUBLISH may need beside its payload: topic, properties
	stopTime       = 1 * time.Second
	sessionExpiry  = 30 * 24 * time.Hour // of clients that asked for a session and did not come back
)

// check fills in the defaults and gives the parsed listeners.
func (cfg *Config) check() ([]listenURL, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if cfg.Deliver == nil {
		bad("deliver: it is needed")
	}
	if cfg.Store == nil {
		bad("store: it is needed")
	}
	if cfg.Wants == nil {
		cfg.Wants = func(string) bool { return true }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Version == "" {
		cfg.Version = "gatepost"
	}
	if cfg.MaxPayload == 0 {
		cfg.MaxPayload = defaultMaxPayload
	}
	if cfg.MaxPayload < 0 || cfg.MaxPayload > largestPayload {
		bad("max payload: %d bytes are not between 1 and %d", cfg.MaxPayload, largestPayload)
	}
	if len(cfg.Listeners) == 0 {
		bad("listeners: at least one is needed")
	}
	var urls []listenURL
	secure := false
	for _, s := range cfg.Listeners {
		u, err := parseListenURL(s)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		urls = append(urls, u)
		secure = secure || u.tls()
	}
	if secure && (cfg.CertFile == "" || cfg.KeyFile == "") {
		bad("mqtts and wss need a certificate and its key: set cert_file and key_file")
	} else if secure {
		if _, err := newCertificate(cfg.CertFile, cfg.KeyFile, cfg.ClientCAFile, cfg.Log); err != nil {
			errs = append(errs, err)
		}
	}
	if cfg.ClientCAFile != "" && !secure {
		bad("client certificates need a listener with TLS: mqtts or wss")
	}
	errs = append(errs, cfg.Limits.check(), cfg.Queue.check("queue", 100_000), cfg.Retained.check("retained", 50_000))
	return urls, errors.Join(errs...)
}

// check fills in the defaults.
func (c *Capacity) check(name string, messages int) error {
	if c.Messages == 0 {
		c.Messages = messages
	}
	if c.Bytes == 0 {
		c.Bytes = 64 << 20
	}
	if c.Messages < 1 || c.Bytes < 1 {
		return fmt.Errorf("%s: %d messages and %d bytes: both must be more than 0", name, c.Messages, c.Bytes)
	}
	return nil
}

// check fills in the defaults.
func (l *Limits) check() error {
	var errs []error
	def := func(name string, v *int, d, most int) {
		if *v == 0 {
			*v = d
		}
		if *v < 0 || *v > most {
			errs = append(errs, fmt.Errorf("limits: %s: %d is not between 1 and %d", name, *v, most))
		}
	}
	def("connections", &l.Connections, 10_000, 1<<24)
	def("connections per address", &l.PerAddress, 2_000, 1<<24)
	def("sessions", &l.Sessions, 20_000, 1<<24)
	def("login failures", &l.LoginFailures, 10, 1<<16)
	def("write buffer", &l.WriteBuffer, 1<<20, 1<<30)
	def("memory queue", &l.MemoryQueue, 4<<20, 1<<30)
	def("subscriptions", &l.Subscriptions, 10_000, 1<<24)
	for _, t := range []struct {
		name string
		v    *time.Duration
		d    time.Duration
	}{
		{"connect time", &l.ConnectTime, 10 * time.Second},
		{"slow time", &l.SlowTime, 30 * time.Second},
		{"session expiry", &l.SessionExpiry, 30 * 24 * time.Hour},
		{"will grace", &l.WillGrace, 10 * time.Second},
		{"stall time", &l.StallTime, 3 * time.Second},
	} {
		if *t.v == 0 {
			*t.v = t.d
		}
		if *t.v < 0 {
			errs = append(errs, fmt.Errorf("limits: %s: %v is negative", t.name, *t.v))
		}
	}
	return errors.Join(errs...)
}
