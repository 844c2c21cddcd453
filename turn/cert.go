package turn

import (
	"crypto/tls"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

// certificate keeps a key pair, and loads it again when a file has changed: connections that are there keep the old one. It
// looks at the files with a handshake, at most once in a second. Safe for concurrent use.
type certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate
	stamp  [2]fileStamp
	looked time.Time
}

type fileStamp struct {
	changed time.Time
	size    int64
}

func newCertificate(certFile, keyFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, log: log}
	c.stamp, c.looked = c.stamps(), time.Now()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	c.pair = &pair
	return c, err
}

// config is for a listener. ALPN is RFC 7443's, which clients need not offer.
func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"stun.turn"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.get(time.Now()), nil },
	}
}

func (c *certificate) get(now time.Time) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.looked) < time.Second {
		return c.pair
	}
	c.looked = now
	stamp := c.stamps()
	if stamp == c.stamp {
		return c.pair
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		c.log.Warn("new certificate is not usable, the old one stays", logkey.File, c.certFile, logkey.Error, err)
		return c.pair // stamp stays too: the other file of the pair may be on its way
	}
	c.pair, c.stamp = &pair, stamp
	c.log.Info("certificate loaded again", logkey.File, c.certFile)
	return c.pair
}

func (c *certificate) stamps() (s [2]fileStamp) {
	for i, name := range []string{c.certFile, c.keyFile} {
		if info, err := os.Stat(name); err == nil {
			s[i] = fileStamp{info.ModTime(), info.Size()}
		}
	}
	return s
}
