package broker

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

// certificate keeps a key pair and the certificates that sign those of clients, and loads them again when a file has
// changed. It looks at the files with a handshake, at most once in a second. Safe for concurrent use.
type certificate struct {
	certFile, keyFile, caFile string // caFile "": clients are not asked for a certificate
	log                       *slog.Logger

	mu     sync.Mutex
	pair   *tls.Certificate
	roots  *x509.CertPool
	stamp  [3]stamp
	looked time.Time
}

type stamp struct {
	changed time.Time
	size    int64
}

func newCertificate(certFile, keyFile, caFile string, log *slog.Logger) (*certificate, error) {
	c := &certificate{certFile: certFile, keyFile: keyFile, caFile: caFile, log: log}
	c.stamp, c.looked = c.stamps(), time.Now()
	var err error
	c.pair, c.roots, err = c.load()
	return c, err
}

// config is for a listener; protocols are for ALPN. A client that shows a certificate must have one of ours; one that shows
// none logs in otherwise. With client certificates there are no session tickets: what was verified once must not outlive
// the file that said so.
func (c *certificate) config(protocols ...string) *tls.Config {
	cfg := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     protocols,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { pair, _ := c.get(time.Now()); return pair, nil },
	}
	if c.caFile == "" {
		return cfg
	}
	cfg.SessionTicketsDisabled = true
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		_, roots := c.get(time.Now())
		asks := cfg.Clone()
		asks.GetConfigForClient = nil
		asks.ClientAuth, asks.ClientCAs = tls.VerifyClientCertIfGiven, roots
		return asks, nil
	}
	return cfg
}

func (c *certificate) get(now time.Time) (*tls.Certificate, *x509.CertPool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.looked) < time.Second {
		return c.pair, c.roots
	}
	c.looked = now
	stamp := c.stamps()
	if stamp == c.stamp {
		return c.pair, c.roots
	}
	pair, roots, err := c.load()
	if err != nil {
		c.log.Warn("new certificate is not usable, the old one stays", logkey.File, c.certFile, logkey.Error, err)
		return c.pair, c.roots // stamp stays too: another of the files may be on its way
	}
	c.pair, c.roots, c.stamp = pair, roots, stamp
	c.log.Info("certificate loaded again", logkey.File, c.certFile)
	return c.pair, c.roots
}

// load reads the files.
func (c *certificate) load() (*tls.Certificate, *x509.CertPool, error) {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return nil, nil, fmt.Errorf("certificate %s, key %s: %w", c.certFile, c.keyFile, err)
	}
	if c.caFile == "" {
		return &pair, nil, nil
	}
	roots, err := readRoots(c.caFile)
	return &pair, roots, err
}

// CheckTLS tells what is wrong with the files for TLS; caFile may be "".
func CheckTLS(certFile, keyFile, caFile string) (cert, ca error) {
	if _, err := tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		cert = fmt.Errorf("certificate %s, key %s: %w", certFile, keyFile, err)
	}
	if caFile != "" {
		_, ca = readRoots(caFile)
	}
	return cert, ca
}

var errNoRoots = errors.New("it holds no certificate in PEM form")

func readRoots(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("client certificates: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("client certificates: %s: %w", file, errNoRoots)
	}
	return roots, nil
}

func (c *certificate) stamps() (s [3]stamp) {
	for i, name := range []string{c.certFile, c.keyFile, c.caFile} {
		if name == "" {
			continue
		}
		if info, err := os.Stat(name); err == nil {
			s[i] = stamp{info.ModTime(), info.Size()}
		}
	}
	return s
}
