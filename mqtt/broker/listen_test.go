package broker

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// writeCertificate makes a self-signed pair for 127.0.0.1 with that serial number.
func writeCertificate(t testing.TB, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "broker"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// withTLS makes a certificate and gives what a client needs to trust it.
func withTLS(t testing.TB, listener string) (func(*Config), *tls.Config) {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, certFile, keyFile, 1)
	pool := x509.NewCertPool()
	b, err := os.ReadFile(certFile)
	if err != nil || !pool.AppendCertsFromPEM(b) {
		t.Fatal("certificate", err)
	}
	return func(cfg *Config) {
		cfg.Listeners = []string{listener}
		cfg.CertFile, cfg.KeyFile = certFile, keyFile
	}, &tls.Config{RootCAs: pool}
}

// dialWS gives the status of the answer too, 0 when there was none.
func dialWS(url string, trust *tls.Config, header http.Header) (c *wsConn, status int, err error) {
	d := websocket.Dialer{Subprotocols: []string{"mqtt"}, TLSClientConfig: trust}
	ws, resp, err := d.Dial(url, header)
	if resp != nil {
		defer resp.Body.Close()
		status = resp.StatusCode
	}
	if err != nil {
		return nil, status, err
	}
	return &wsConn{Conn: ws.NetConn(), ws: ws}, status, nil
}

// Every kind of listener carries the same, large messages too.
func TestListeners(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"mqtt", "mqtts", "ws", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			change, trust := withTLS(t, scheme+"://127.0.0.1:0")
			f := start(t, change)
			var nc net.Conn
			var err error
			switch scheme {
			case "mqtt":
				nc, err = net.Dial("tcp", f.addr.String())
			case "mqtts":
				nc, err = tls.Dial("tcp", f.addr.String(), trust)
			default:
				var ws *wsConn
				ws, _, err = dialWS(scheme+"://"+f.addr.String()+"/mqtt", trust, nil)
				if err == nil && ws.ws.Subprotocol() != "mqtt" {
					t.Errorf("subprotocol %q", ws.ws.Subprotocol())
				}
				nc = ws
			}
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			c := &raw{Conn: nc, r: bufio.NewReader(nc), level: 5}
			c.send(t, login{id: "dev", level: 5, clean: true, will: "want/will"}.encode())
			c.want(t, kindConnack)
			c.subscribe(t, 1, 1, "want/#")
			big := strings.Repeat("0123456789", 100_000)
			c.send(t, c.publish(publish{topic: "want/big", qos: 1, id: 7, payload: big}))
			if p := c.wantOwn(t); p.payload() != big {
				t.Errorf("%d bytes came back, want %d", len(p.payload()), len(big))
			}
			if got := f.await(t, 1); string(got[0].Payload) != big {
				t.Errorf("%d bytes delivered", len(got[0].Payload))
			}
			if list := f.Clients(); len(list) != 1 || list[0].Address != nc.LocalAddr().String() {
				t.Errorf("clients %+v, want one from %v", list, nc.LocalAddr())
			}
			nc.Close()
			f.await(t, 2) // the will
			eventually(t, "the place is free", func() bool { f.places.mu.Lock(); defer f.places.mu.Unlock(); return f.places.n == 0 })
		})
	}
}

func TestWebSocketRequests(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) {
		cfg.Listeners, cfg.Origins = []string{"ws://127.0.0.1:0/mqtt"}, []string{"https://panel.example:8443"}
	})
	at := "ws://" + f.addr.String()
	nc, _, err := dialWS(at+"/mqtt", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.ws.WriteMessage(websocket.TextMessage, login{id: "x", clean: true}.encode()); err != nil {
		t.Fatal(err)
	}
	(&raw{Conn: nc, r: bufio.NewReader(nc), level: 4}).wantClosed(t)
	for _, tc := range []struct {
		url, origin string
		want        int
	}{
		{at + "/other", "", http.StatusNotFound},
		{at + "/mqtt", "http://evil.example", http.StatusForbidden},
		{at + "/mqtt", "https://panel.example:8443", http.StatusSwitchingProtocols},
		{at + "/mqtt", "https://panel.example", http.StatusForbidden},
		{at + "/mqtt", "https://panel.example:8443.evil.example", http.StatusForbidden},
		{at + "/mqtt", "http://" + f.addr.String(), http.StatusSwitchingProtocols},
	} {
		h := http.Header{}
		if tc.origin != "" {
			h.Set("Origin", tc.origin)
		}
		nc, status, err := dialWS(tc.url, nil, h)
		if err == nil {
			nc.Close()
		}
		if status != tc.want {
			t.Errorf("%s from %q: %d (%v), want %d", tc.url, tc.origin, status, err, tc.want)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		origin, host string
		open, want   bool
	}{
		{"", "x:1", true, true},
		{"https://home.example", "home.example", false, true},
		{"https://HOME.example:1", "home.example:1", false, true},
		{"https://home.example", "home.example", true, false}, // a name that points to us
		{"http://127.0.0.1:9", "127.0.0.1:9", true, true},
		{"http://[::1]:9", "[::1]:9", true, true},
		{"http://localhost:9", "localhost:9", true, true},
		{"http://evil.example", "127.0.0.1:9", true, false},
		{"null", "127.0.0.1:9", true, false},
		{"://", "127.0.0.1:9", false, false},
	} {
		if got := sameOrigin(tc.origin, tc.host, tc.open); got != tc.want {
			t.Errorf("origin %q host %q open %v: %v", tc.origin, tc.host, tc.open, got)
		}
	}
}

func TestCertificateIsLoadedAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writeCertificate(t, certFile, keyFile, 1)
	c, err := newCertificate(certFile, keyFile, "", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	serial := func() int64 {
		t.Helper()
		now = now.Add(2 * time.Second)
		pair, _ := c.get(now)
		x, err := x509.ParseCertificate(pair.Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return x.SerialNumber.Int64()
	}
	touch := func(age time.Duration) {
		for _, f := range []string{certFile, keyFile} {
			if err := os.Chtimes(f, now, now.Add(age)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := serial(); got != 1 {
		t.Errorf("serial %d, want 1", got)
	}
	writeCertificate(t, certFile, keyFile, 2)
	touch(time.Hour)
	if got := serial(); got != 2 {
		t.Errorf("serial %d after the change, want 2", got)
	}
	if err := os.WriteFile(certFile, []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != 2 {
		t.Errorf("serial %d with a broken file, want the old one", got)
	}
	writeCertificate(t, certFile, keyFile, 3)
	touch(2 * time.Hour)
	if got := serial(); got != 3 {
		t.Errorf("serial %d after the repair, want 3", got)
	}
}

func TestPlaces(t *testing.T) {
	t.Parallel()
	p := places{all: 3, perAddress: 2}
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for i, tc := range []struct {
		addr netip.Addr
		want string
	}{
		{a, ""},
		{a, ""},
		{a, refusedAddress},
		{b, ""},
		{b, refusedConnections},
	} {
		if got := p.take(tc.addr); got != tc.want {
			t.Errorf("%d: %q, want %q", i, got, tc.want)
		}
	}
	p.give(a)
	if got := p.take(netip.MustParseAddr("2001:db8::ffff")); got != "" { // the same /64
		t.Errorf("second of a /64: %q", got)
	}
	p.give(b)
	if got := p.take(b); got != "" {
		t.Errorf("after one was given back: %q", got)
	}
	p.give(b)
	p.give(b)
	p.give(a)
	if len(p.byAddr) != 0 || p.n != 0 {
		t.Errorf("%v left, %d in all", p.byAddr, p.n)
	}
}
