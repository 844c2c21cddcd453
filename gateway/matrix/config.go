package matrix

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/metrics"
)

// Mode says as what gatepost is known to the homeserver.
type Mode string

// The modes.
const (
	Appservice Mode = "appservice" // a registration, ghosts, events are pushed
	Account    Mode = "account"    // one ordinary user that reads by /sync
)

// Inbox keeps what the homeserver delivers. store.Store is the one in the binary. Safe for concurrent use.
type Inbox interface {
	// Accept makes the events durable, the position of their source together with the last of them, and says how many were
	// new. Events with an id that was seen before are dropped. nil means fsynced: only then is the source told. With an
	// error some events may be there (fresh counts them); the position is not, so all come again.
	Accept(source, position string, events []room.Event) (fresh int, err error)
	// Position is what the last Accept of the source was given; "" when there was none.
	Position(source string) (string, error)
}

// The sources that Accept is called with.
const (
	SourceAppservice = "appservice" // position: transaction id
	SourceSync       = "sync"       // position: next_batch
)

// Secrets keeps what an account logged in with, so that a restart does not log in again.
type Secrets interface {
	Get(name string) (value string, err error) // "" when there is none
	Put(name, value string) error
}

// Config says how a Client runs.
type Config struct {
	Homeserver string // base URL, such as "http://127.0.0.1:8008"; required
	ServerName string // the part after the ":" of user ids; required
	Mode       Mode   // required
	Bot        string // the bot's localpart; required

	// For Appservice.
	ID          string // the registration's id; for the ping; "" never pings
	ASToken     string // required
	HSToken     string // required to Listen
	Listen      string // address for transactions, such as "127.0.0.1:29333"; "" does not listen
	GhostPrefix string // ghosts and aliases of device rooms begin with it; "" means "gatepost_"
	// Aliases are other alias localparts that belong to us, such as the control room's.
	Aliases []string

	// For Account: a token, or a password that is used once and whose token is kept in Secrets.
	Token    string
	Password string
	Secrets  Secrets // required with Password

	Inbox Inbox // required to Run
	// Crypto makes the bot take part in encrypted rooms; nil: nothing is sent to them. It needs Secrets, and a build that
	// CanEncrypt.
	Crypto *CryptoConfig
	// MaxUpload is the largest media in bytes that is tried, besides what the homeserver allows; 0 means 64 MiB.
	MaxUpload int64
	Now       func() time.Time // nil means time.Now
	Log       *slog.Logger     // nil: silent
	Metrics   *metrics.Registry
	// Dial replaces the way connections to the homeserver are made; nil means TCP. For tests.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

const (
	defaultGhostPrefix = "gatepost_"
	defaultMaxUpload   = 64 << 20
	maxUserID          = 255 // bytes of a user id, an alias, a room id, an event id (Appendices, Identifier Grammar)
)

// check fills in defaults and says everything that is wrong with cfg, each with the name of its field.
func (cfg *Config) check() (*url.URL, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("matrix: "+format, args...)) }

	base, err := url.Parse(cfg.Homeserver)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.RawQuery != "" || base.Fragment != "" || base.User != nil {
		bad("Homeserver: %q is not an http or https base URL", cfg.Homeserver)
	} else {
		base.RawPath = base.EscapedPath()
	}
	if cfg.GhostPrefix == "" {
		cfg.GhostPrefix = defaultGhostPrefix
	}
	if cfg.MaxUpload <= 0 {
		cfg.MaxUpload = defaultMaxUpload
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if !validServerName(cfg.ServerName) {
		bad("ServerName: %q is not a server name", cfg.ServerName)
	}
	if !validLocalpart(cfg.Bot) {
		bad("Bot: %q is not a localpart (a-z, 0-9 and ._=-/+)", cfg.Bot)
	}
	if !validLocalpart(cfg.GhostPrefix) {
		bad("GhostPrefix: %q is not the beginning of a localpart", cfg.GhostPrefix)
	}
	if strings.HasPrefix(cfg.Bot, cfg.GhostPrefix) {
		bad("Bot: %q looks like a ghost, it begins with %q", cfg.Bot, cfg.GhostPrefix)
	}
	switch cfg.Mode {
	case Appservice:
		if cfg.ASToken == "" {
			bad("ASToken: missing")
		}
		if cfg.Listen != "" && cfg.HSToken == "" {
			bad("HSToken: missing")
		}
	case Account:
		if (cfg.Token == "") == (cfg.Password == "") {
			bad("Token, Password: exactly one of them is needed")
		}
		if cfg.Password != "" && cfg.Secrets == nil {
			bad("Secrets: missing; a password is used once and its token kept")
		}
	default:
		bad("Mode: %q is neither %q nor %q", cfg.Mode, Appservice, Account)
	}
	if cfg.Crypto != nil {
		copied := *cfg.Crypto
		cfg.Crypto = &copied
		if err := cfg.Crypto.check(); err != nil {
			errs = append(errs, err)
		}
		if cfg.Secrets == nil {
			bad("Secrets: missing; they say which device the bot had")
		}
	}
	return base, errors.Join(errs...)
}

const letters, digits = "abcdefghijklmnopqrstuvwxyz", "0123456789"

// validServerName holds for host names, addresses and a port; it keeps out what would change the meaning of an id.
func validServerName(s string) bool {
	return s != "" && len(s) <= 230 && madeOf(s, letters+strings.ToUpper(letters)+digits+".-:[]")
}

// validLocalpart is the grammar of new user ids (Appendices, User Identifiers).
func validLocalpart(s string) bool {
	return s != "" && len(s) < maxUserID && madeOf(s, letters+digits+"._=-/+")
}

// madeOf says whether s holds only bytes of set, which is ASCII.
func madeOf(s, set string) bool {
	for i := range len(s) {
		if strings.IndexByte(set, s[i]) < 0 {
			return false
		}
	}
	return true
}

func validRoomID(s string) bool { return wellFormed(s, '!') }

func validEventID(s string) bool { return wellFormed(s, '$') }

func validUserID(s string) bool {
	return wellFormed(s, '@') && strings.IndexByte(s, ':') > 0
}

// wellFormed holds for a sigil and something behind it without spaces and controls.
func wellFormed(s string, sigil byte) bool {
	return len(s) > 1 && len(s) <= maxUserID && s[0] == sigil &&
		strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '�' }) < 0
}

// localpart splits an id of our server; ok is false for another server's.
func (c *Client) localpart(id string, sigil byte) (local string, ok bool) {
	if id == "" || id[0] != sigil {
		return "", false
	}
	local, server, found := strings.Cut(id[1:], ":")
	return local, found && server == c.cfg.ServerName
}

// ghost says whether user is one that stands for a device.
func (c *Client) ghost(user ids.UserID) bool {
	local, ok := c.localpart(string(user), '@')
	return ok && c.cfg.Mode == Appservice && strings.HasPrefix(local, c.cfg.GhostPrefix) && len(local) > len(c.cfg.GhostPrefix) && validLocalpart(local)
}

// own says whether user is the bot or a ghost.
func (c *Client) own(user ids.UserID) bool { return user == c.bot || c.ghost(user) }

// ownAlias says whether an alias localpart is in our namespace. Dendrite lets an appservice make any, so it is up to us.
func (c *Client) ownAlias(local string) bool {
	for _, a := range c.cfg.Aliases {
		if a == local {
			return true
		}
	}
	return strings.HasPrefix(local, c.cfg.GhostPrefix)
}
