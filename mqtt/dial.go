package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// connectTimeout is how long a broker may take for everything up to its CONNACK.
const connectTimeout = 10 * time.Second

// dial opens the connection to u: TCP, and TLS or WebSocket where u says so. Certificates are read each time.
func dial(ctx context.Context, cfg Config, u *url.URL) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var tc *tls.Config
	if secure(u) {
		var err error
		if tc, err = tlsConfig(cfg, u.Hostname()); err != nil {
			return nil, err
		}
	}
	switch u.Scheme {
	case "ws", "wss":
		return dialWeb(ctx, u, tc)
	case "mqtts":
		return (&tls.Dialer{Config: tc}).DialContext(ctx, "tcp", u.Host)
	default:
		return (&net.Dialer{}).DialContext(ctx, "tcp", u.Host)
	}
}

// tlsConfig reads the certificates of cfg.
func tlsConfig(cfg Config, host string) (*tls.Config, error) {
	tc := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca file: %w", err)
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca file: %s holds no certificate in PEM", cfg.CAFile)
		}
	}
	if cfg.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("certificate and key: %w", err)
		}
		tc.Certificates = []tls.Certificate{pair}
	}
	return tc, nil
}

// dialWeb opens a WebSocket with the subprotocol mqtt (MQTT 3.1.1 section 6).
func dialWeb(ctx context.Context, u *url.URL, tc *tls.Config) (net.Conn, error) {
	d := websocket.Dialer{
		NetDialContext: (&net.Dialer{}).DialContext, TLSClientConfig: tc, Subprotocols: []string{"mqtt"},
	}
	c, resp, err := d.DialContext(ctx, u.String(), nil)
	if resp != nil {
		_ = resp.Body.Close() // holds at most the beginning of an error page
	}
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			return nil, fmt.Errorf("%w: HTTP %s", err, resp.Status)
		}
		return nil, err
	}
	return &webConn{Conn: c}, nil
}

// webConn is a WebSocket as a stream: MQTT packets do not begin where messages do (section 6.0).
type webConn struct {
	*websocket.Conn
	message io.Reader  // the one being read; only the reader's
	writing sync.Mutex // a WebSocket takes one writer at a time
}

func (c *webConn) Read(p []byte) (int, error) {
	for {
		if c.message == nil {
			kind, r, err := c.NextReader()
			if err != nil {
				return 0, err
			}
			if kind != websocket.BinaryMessage {
				return 0, fmt.Errorf("%w: a WebSocket message that is not binary", errMalformed)
			}
			c.message = r
		}
		n, err := c.message.Read(p)
		if err == io.EOF { // the message's, not the connection's
			c.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (c *webConn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if err := c.WriteMessage(websocket.BinaryMessage, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (c *webConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}
