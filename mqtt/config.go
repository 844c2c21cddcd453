package mqtt

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatepost/gatepost/internal/metrics"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// Config says how a Client runs. URL, ClientID and Deliver are required.
type Config struct {
	// URL of the broker: mqtt, mqtts, ws or wss. The port defaults to 1883, 8883, 80 and 443, the path (ws and wss only)
	// to /mqtt. User and password do not belong into it.
	URL string
	// ClientID names our session at the broker. It must stay the same over restarts, and nobody else may use it: brokers
	// close the connection of the one who came first.
	ClientID       string
	User, Password string // no password without a user

	// PEM files, for mqtts and wss; they are read again for each connection. Without CAFile the system's authorities are
	// trusted, with it only those in it. CertFile and KeyFile are our own certificate, both or none.
	CAFile, CertFile, KeyFile string

	// Filters are wanted from the start; SetFilters changes them. They may overlap.
	Filters []topic.Filter
	// Session remembers what we subscribed to. Nil keeps it in memory, so that each start of the process subscribes again.
	Session Session

	// Clean asks the broker to forget the session when the connection ends: for who only looks for a while.
	Clean bool

	MaxPayload  int           // bytes, both ways; 0 means 4 MiB
	MaxInFlight int64         // bytes delivered or waiting, and not yet done; 0 means 8 MiB
	KeepAlive   time.Duration // whole seconds, 1 s to 18 h; 0 means 30 s

	// Deliver takes the messages, in the order of the broker and always from the same goroutine; the payload is its own. It
	// must not block for long. done must be called once for each message, from any goroutine, also before Deliver returns:
	// done(nil) when the message is safe, which acknowledges it; done(err) when it could not be taken. It never blocks, and
	// further calls do nothing.
	Deliver func(m topic.Message, done func(error))
	// OnState is told each change, from Run's goroutine; it must not block. Nil: nobody is told.
	OnState func(State)

	Log     *slog.Logger      // nil: silent
	Metrics *metrics.Registry // nil: none
}

// Session keeps what is known of the subscriptions in our session at the broker, in a place that outlives the process and
// belongs to one client id. The strings are this package's own and may hold any UTF-8. Called from one goroutine.
type Session interface {
	// Load gives what was saved last; nothing is fine.
	Load() ([]string, error)
	// Save returns when the strings are safe. An error ends the connection, which is tried again.
	Save([]string) error
}

// State is how things stand with the broker.
type State struct {
	Connected bool   // connected and subscribed
	Reason    string // not connected: why, for people. Connected: "" or what is not as it should be
	Err       error  // the same for errors.Is; nil when nothing went wrong
}

const (
	defaultMaxPayload  = 4 << 20
	defaultMaxInFlight = 8 << 20
	defaultKeepAlive   = 30 * time.Second
	maxPacket          = 268_435_455 // MQTT 3.1.1 section 2.2.3
)

// check fills in the defaults and gives the parsed URL.
func (cfg *Config) check() (*url.URL, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	u, err := parseURL(cfg.URL)
	if err != nil {
		errs = append(errs, err)
	}
	switch {
	case cfg.ClientID == "":
		bad("client id: it is needed, and must stay the same over restarts")
	case !validField(cfg.ClientID):
		bad("client id: at most 65535 bytes of UTF-8 without NUL are possible")
	}
	if !validField(cfg.User) || len(cfg.Password) > topic.MaxLength {
		bad("user and password: at most 65535 bytes of UTF-8 without NUL are possible")
	}
	if cfg.Password != "" && cfg.User == "" {
		bad("password: without a user MQTT 3.1.1 has no place for it")
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		bad("certificate and key: one does not work without the other")
	}
	if u != nil && !secure(u) && cfg.CAFile+cfg.CertFile != "" {
		bad("certificates: they need mqtts or wss, the URL says %s", u.Scheme)
	}
	if cfg.MaxPayload == 0 {
		cfg.MaxPayload = defaultMaxPayload
	}
	if cfg.MaxPayload < 0 || cfg.MaxPayload > maxPacket-2*topic.MaxLength {
		bad("max payload: %d bytes is not between 1 and %d", cfg.MaxPayload, maxPacket-2*topic.MaxLength)
	}
	if cfg.MaxInFlight == 0 {
		cfg.MaxInFlight = defaultMaxInFlight
	}
	if cfg.MaxInFlight < 0 {
		bad("max in flight: %d bytes is less than nothing", cfg.MaxInFlight)
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = defaultKeepAlive
	}
	if cfg.KeepAlive < time.Second || cfg.KeepAlive > 18*time.Hour || cfg.KeepAlive%time.Second != 0 {
		bad("keep alive: %v is not a number of seconds between 1 s and 18 h", cfg.KeepAlive)
	}
	if cfg.Deliver == nil {
		bad("deliver: there is nobody to deliver to")
	}
	if cfg.Session == nil {
		cfg.Session = &memorySession{}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if len(errs) == 0 && secure(u) {
		if _, err := tlsConfig(*cfg, u.Hostname()); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("mqtt: %w", err)
	}
	return u, nil
}

// CheckURL tells whether s is the URL of a broker that a Client can use.
func CheckURL(s string) error {
	_, err := parseURL(s)
	return err
}

func parseURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("url: %w", errors.Unwrap(err)) // without the text of the URL, which may hold a password
	}
	ports := map[string]string{"mqtt": "1883", "mqtts": "8883", "ws": "80", "wss": "443"}
	port, ok := ports[u.Scheme]
	switch {
	case !ok:
		return nil, fmt.Errorf("url: the scheme is %q, possible are mqtt, mqtts, ws and wss", u.Scheme)
	case u.User != nil:
		return nil, errors.New("url: user and password do not belong into it, they have keys of their own")
	case u.Hostname() == "":
		return nil, errors.New("url: the host is missing")
	case u.Fragment != "":
		return nil, errors.New("url: nothing can follow a #")
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), port)
	}
	web := strings.HasPrefix(u.Scheme, "ws")
	if !web && (strings.Trim(u.Path, "/") != "" || u.RawQuery != "") {
		return nil, fmt.Errorf("url: %s has no path, only ws and wss have", u.Scheme)
	}
	if web && u.Path == "" {
		u.Path = "/mqtt"
	}
	return u, nil
}

func secure(u *url.URL) bool { return u.Scheme == "mqtts" || u.Scheme == "wss" }

// validField tells whether s fits an MQTT string.
func validField(s string) bool {
	return len(s) <= topic.MaxLength && utf8.ValidString(s) && !strings.Contains(s, "\x00")
}

// memorySession is the Session of a Client that was given none.
type memorySession struct{ saved []string }

func (s *memorySession) Load() ([]string, error) { return s.saved, nil }

func (s *memorySession) Save(lines []string) error {
	s.saved = lines
	return nil
}
