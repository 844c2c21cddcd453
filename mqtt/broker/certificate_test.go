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
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority signs certificates of clients.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB, name string) authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return authority{cert, key}
}

func (a authority) write(t testing.TB, file string) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
}

// issue makes a client's certificate; change may be nil.
func (a authority) issue(t testing.TB, name string, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	if change != nil {
		change(tmpl)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// withClientCA adds an authority to a broker with TLS, and some accounts.
func withClientCA(t testing.TB, listener string) (change func(*Config), trust *tls.Config, ca authority, caFile string) {
	t.Helper()
	secure, trust := withTLS(t, listener)
	ca, caFile = newAuthority(t, "ours"), filepath.Join(t.TempDir(), "ca.pem")
	ca.write(t, caFile)
	return func(cfg *Config) {
		secure(cfg)
		cfg.ClientCAFile = caFile
		cfg.Accounts = []Account{
			{User: "lamp", Certificate: "lamp.example"},
			{User: "door", Certificate: "urn:dev:door", Password: "d"},
			{User: "plain", Password: "p"},
		}
	}, trust, ca, caFile
}

// tryTLS gives the code of the CONNACK, or closed.
func tryTLS(t testing.TB, scheme string, addr net.Addr, trust *tls.Config, cert *tls.Certificate, l login) (*raw, int) {
	t.Helper()
	cfg := trust.Clone()
	if cert != nil {
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil } // also one that was not asked for
	}
	var nc net.Conn
	var err error
	if scheme == "wss" {
		nc, _, err = dialWS("wss://"+addr.String()+"/mqtt", cfg, nil)
	} else {
		nc, err = tls.Dial("tcp", addr.String(), cfg)
	}
	if err != nil {
		return nil, closed
	}
	t.Cleanup(func() { nc.Close() })
	c := &raw{Conn: nc, r: bufio.NewReader(nc), level: 4}
	if _, err := c.Write(l.encode()); err != nil {
		return c, closed
	}
	p, err := c.read(patience)
	if err != nil {
		return c, closed
	}
	return c, int(p.body[1])
}

func TestClientCertificates(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"mqtts", "wss"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			change, trust, ca, _ := withClientCA(t, scheme+"://127.0.0.1:0")
			f := start(t, change)
			urn, err := url.Parse("urn:dev:door")
			if err != nil {
				t.Fatal(err)
			}
			lamp := ca.issue(t, "lamp.example", nil)
			san := ca.issue(t, "something", func(c *x509.Certificate) { c.DNSNames = []string{"lamp.example"} })
			door := ca.issue(t, "", func(c *x509.Certificate) { c.URIs = []*url.URL{urn} })
			both := ca.issue(t, "lamp.example", func(c *x509.Certificate) { c.URIs = []*url.URL{urn} })
			stranger := ca.issue(t, "stranger", nil)
			late := ca.issue(t, "lamp.example", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
			forged := newAuthority(t, "ours").issue(t, "lamp.example", nil)
			server := ca.issue(t, "lamp.example", func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} })
			for _, tc := range []struct {
				name    string
				cert    *tls.Certificate
				login   login
				want    int
				account string
			}{
				{"common name", &lamp, login{}, 0, "lamp"},
				{"DNS name", &san, login{}, 0, "lamp"},
				{"URI", &door, login{}, 0, "door"},
				{"the user named as well", &lamp, login{user: "lamp", password: "whatever"}, 0, "lamp"},
				{"one that fits two accounts", &both, login{}, 5, ""},
				{"the same, and which", &both, login{user: "door"}, 0, "door"},
				{"another user by it", &lamp, login{user: "door"}, 5, ""},
				{"another user, by password", &lamp, login{user: "door", password: "d"}, 0, "door"},
				{"of nobody", &stranger, login{}, 5, ""},
				{"of nobody, with a password", &stranger, login{user: "plain", password: "p"}, 0, "plain"},
				{"none", nil, login{}, 5, ""},
				{"none, with the user", nil, login{user: "lamp"}, 5, ""},
				{"none, with a password", nil, login{user: "plain", password: "p"}, 0, "plain"},
				{"expired", &late, login{}, closed, ""},
				{"signed by others", &forged, login{}, closed, ""},
				{"for servers", &server, login{}, closed, ""},
			} {
				tc.login.id, tc.login.clean = "x", true
				c, code := tryTLS(t, scheme, f.addr, trust, tc.cert, tc.login)
				if code != tc.want {
					t.Errorf("%s: CONNACK %d, want %d", tc.name, code, tc.want)
				}
				if code == 0 {
					eventually(t, "it is listed", func() bool { return len(f.Clients()) == 1 })
					if list := f.Clients(); len(list) != 1 || list[0].Account != tc.account || list[0].Transport != scheme {
						t.Errorf("%s: clients %+v, want one of %q", tc.name, list, tc.account)
					}
				}
				if c != nil {
					c.Close()
				}
				eventually(t, "it is gone", func() bool { return len(f.Clients()) == 0 })
			}
		})
	}
}

// Without an authority nobody is asked, and an account's certificate is a mistake.
func TestNoClientCertificatesWithoutAuthority(t *testing.T) {
	t.Parallel()
	change, trust := withTLS(t, "mqtts://127.0.0.1:0")
	f := start(t, func(cfg *Config) { change(cfg); withAccounts(t)(cfg) })
	lamp := newAuthority(t, "x").issue(t, "porch", nil)
	if _, code := tryTLS(t, "mqtts", f.addr, trust, &lamp, login{id: "x", user: "porch", password: "p1", clean: true}); code != 0 {
		t.Errorf("CONNACK %d", code)
	}
	if _, code := tryTLS(t, "mqtts", f.addr, trust, &lamp, login{id: "x", clean: true}); code != 5 {
		t.Errorf("a certificate that nobody verified: CONNACK %d", code)
	}
}

func TestReloadOfCertificateAccounts(t *testing.T) {
	t.Parallel()
	change, trust, ca, caFile := withClientCA(t, "mqtts://127.0.0.1:0")
	f := start(t, change)
	lamp := ca.issue(t, "lamp.example", nil)
	l := login{id: "x", clean: true}
	c, code := tryTLS(t, "mqtts", f.addr, trust, &lamp, l)
	if code != 0 {
		t.Fatalf("CONNACK %d", code)
	}
	same := []Account{{User: "lamp", Certificate: "lamp.example"}}
	if err := f.SetAccounts(same); err != nil {
		t.Fatal(err)
	}
	c.quiet(t)
	if err := f.SetAccounts([]Account{{User: "lamp", Certificate: "lamp2.example"}}); err != nil {
		t.Fatal(err)
	}
	c.wantClosed(t)
	if err := f.SetAccounts(same); err != nil {
		t.Fatal(err)
	}
	// Another authority: the old one's certificates are worth nothing from then on.
	other := newAuthority(t, "new")
	other.write(t, caFile)
	f.cert.mu.Lock()
	f.cert.looked = time.Time{} // look at once
	f.cert.mu.Unlock()
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(caFile, later, later); err != nil {
		t.Fatal(err)
	}
	if _, code := tryTLS(t, "mqtts", f.addr, trust, &lamp, l); code != closed {
		t.Errorf("CONNACK %d with a certificate of the old authority", code)
	}
	lamp = other.issue(t, "lamp.example", nil)
	if _, code := tryTLS(t, "mqtts", f.addr, trust, &lamp, l); code != 0 {
		t.Errorf("CONNACK %d with a certificate of the new one", code)
	}
	if err := os.WriteFile(caFile, []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	f.cert.mu.Lock()
	f.cert.looked = time.Time{}
	f.cert.mu.Unlock()
	if _, code := tryTLS(t, "mqtts", f.addr, trust, &lamp, l); code != 0 {
		t.Errorf("CONNACK %d while the file is broken: the old one should stay", code)
	}
}

func TestClientCAFileIsChecked(t *testing.T) {
	t.Parallel()
	secure, _ := withTLS(t, "mqtts://127.0.0.1:0")
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]Config{
		"missing": {ClientCAFile: filepath.Join(t.TempDir(), "none.pem")},
		"empty":   {ClientCAFile: empty},
	} {
		secure(&cfg)
		cfg.Deliver, cfg.Store = (&fixture{}).deliver, newMemory()
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
	if _, err := New(Config{Listeners: []string{"mqtt://127.0.0.1:0"}, Store: newMemory(), Deliver: (&fixture{}).deliver, ClientCAFile: empty}); err == nil {
		t.Error("taken without TLS")
	}
}
