//go:build interop

package clients

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/harness"
)

// The accounts of every broker here.
const (
	user, password               = "tester", "secret of the tester"
	limitedUser, limitedPassword = "limited", "secret of the limited one"
)

// bin is the folder of the programs; FAULT_BIN names one with another gatepost.
const bin = "../../bin"

// broker is a broker with the two accounts.
type broker struct {
	t     *testing.T
	ctx   context.Context
	ports []int // of mqtt, mqtts, ws and wss
	ca    string
	gp    *harness.Gatepost // nil: it is mosquitto
}

func (b *broker) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// prepare makes a certificate and finds ports.
func prepare(t *testing.T, dir string) *broker {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
	t.Cleanup(cancel)
	ports, err := harness.FreePorts(5)
	b := &broker{t: t, ctx: ctx, ports: ports, ca: filepath.Join(dir, "broker.pem")}
	b.ok(err)
	b.ok(certify(b.ca, filepath.Join(dir, "broker.key")))
	return b
}

// gatepost starts one with all listeners. With accounts it has the two, else everybody may do everything.
func gatepost(t *testing.T, accounts bool) *broker {
	t.Helper()
	dir := t.TempDir()
	b := prepare(t, dir)
	admin := fmt.Sprintf("127.0.0.1:%d", b.ports[4])
	var err error
	b.gp, err = harness.NewGatepost(filepath.Join(cmp.Or(os.Getenv("FAULT_BIN"), bin), "gatepost"), dir, harness.Settings{Admin: admin})
	b.ok(err)
	yaml := fmt.Sprintf("mqtt:\n  listen: [\"%s\"]\n  cert_file: broker.pem\n  key_file: broker.key\n", strings.Join(b.urls(), `", "`))
	if accounts {
		// Many cases log in with wrong passwords, at the same time and from one address.
		yaml += fmt.Sprintf("  limits: {login_failures: 1000}\n  accounts:\n    - {user: %s, password: %q, publish: [\"#\", \"$own/#\"], subscribe: [\"#\"]}\n    - {user: %s, password: %q, publish: [\"limited/#\"], subscribe: [\"limited/#\"]}\n",
			user, password, limitedUser, limitedPassword)
	}
	b.ok(b.gp.Configure(yaml + fmt.Sprintf("store: {path: data}\nadmin: {listen: %q, socket: data/gatepost.sock}\n", admin)))
	b.ok(b.gp.Start(b.ctx))
	t.Cleanup(func() {
		b.gp.Kill()
		if t.Failed() {
			t.Logf("the end of gatepost's log:\n%s", b.gp.Log().Tail(20))
		}
	})
	return b
}

// mosquitto starts one with the same accounts and listeners; with anonymous everybody may come in as well.
func mosquitto(t *testing.T, anonymous bool) *broker {
	t.Helper()
	dir := t.TempDir()
	b := prepare(t, dir)
	for _, a := range [][2]string{{user, password}, {limitedUser, limitedPassword}} {
		out, err := exec.Command("mosquitto_passwd", "-b", "-c", filepath.Join(dir, a[0]), a[0], a[1]).CombinedOutput()
		if err != nil {
			t.Fatalf("mosquitto_passwd: %v: %s", err, out)
		}
	}
	var passwords []byte
	for _, name := range []string{user, limitedUser} {
		p, err := os.ReadFile(filepath.Join(dir, name))
		b.ok(err)
		passwords = append(passwords, p...)
	}
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		b.ok(os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	conf := fmt.Sprintf("user root\nallow_anonymous %t\npassword_file ", anonymous) + file("passwords", string(passwords)) +
		"\nacl_file " + file("permissions", map[bool]string{true: "topic readwrite #\n"}[anonymous]+"user "+user+"\ntopic readwrite #\ntopic readwrite $SYS/#\ntopic readwrite $own/#\nuser "+limitedUser+"\ntopic readwrite limited/#\n") +
		"\nmax_queued_messages 10000\nlog_dest file " + filepath.Join(dir, "mosquitto.log") + "\n"
	for i, kind := range []string{"mqtt", "mqtts", "ws", "wss"} {
		conf += fmt.Sprintf("listener %d 127.0.0.1\n", b.ports[i])
		if strings.HasPrefix(kind, "ws") {
			conf += "protocol websockets\n"
		}
		if strings.HasSuffix(kind, "s") && kind != "ws" {
			conf += fmt.Sprintf("certfile %s\nkeyfile %s\n", b.ca, filepath.Join(dir, "broker.key"))
		}
	}
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // not in everybody's PATH
	}
	cmd := exec.CommandContext(b.ctx, path, "-c", file("mosquitto.conf", conf))
	b.ok(cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	b.await()
	return b
}

// await waits until somebody listens.
func (b *broker) await() {
	b.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.ports[3]))
		if err == nil {
			b.ok(c.Close())
			return
		}
		select {
		case <-tick.C:
		case <-b.ctx.Done():
			b.t.Fatal(err)
		}
	}
}

// urls are where it listens, one a transport.
func (b *broker) urls() []string {
	return []string{
		fmt.Sprintf("mqtt://127.0.0.1:%d", b.ports[0]), fmt.Sprintf("mqtts://127.0.0.1:%d", b.ports[1]),
		fmt.Sprintf("ws://127.0.0.1:%d/mqtt", b.ports[2]), fmt.Sprintf("wss://127.0.0.1:%d/mqtt", b.ports[3]),
	}
}

// certify writes a certificate for 127.0.0.1 and localhost that is its own authority.
func certify(certFile, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gatepost test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}
