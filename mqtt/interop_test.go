//go:build interop

package mqtt

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMosquitto runs the suite against Debian's mosquitto. Without the program it fails.
func TestMosquitto(t *testing.T) {
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto" // not in everybody's PATH
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("mosquitto is needed for this test: %v", err)
	}
	suite(t, func(t *testing.T, s setup) broker {
		t.Helper()
		dir := t.TempDir()
		addr := freePort(t)
		host, port, _ := net.SplitHostPort(addr)
		lines := []string{
			"user root", "persistence false", "log_dest none", // it would change to a user who may not read our files
			fmt.Sprintf("listener %s %s", port, host), fmt.Sprintf("allow_anonymous %v", s.user == ""),
		}
		url := "mqtt://" + addr
		if s.ws { // it does not start without a plain listener, and binds to an address with IPv4 only
			web := freePort(t)
			_, port, _ := net.SplitHostPort(web)
			url = "ws://" + web
			lines = append(lines, fmt.Sprintf("listener %s %s", port, host), "protocol websockets", "socket_domain ipv4")
		}
		if s.user != "" {
			passwords := filepath.Join(dir, "passwords")
			if out, err := exec.Command("mosquitto_passwd", "-b", "-c", passwords, s.user, s.password).CombinedOutput(); err != nil {
				t.Fatalf("mosquitto_passwd: %v: %s", err, out)
			}
			lines = append(lines, "password_file "+passwords)
		}
		if s.tls != nil {
			url = "mqtts://" + addr
			lines = append(lines, "cafile "+s.tls.file("ca.pem"), "certfile "+s.tls.file("server.pem"), "keyfile "+s.tls.file("server.key"),
				fmt.Sprintf("require_certificate %v", s.clientCert))
		}
		config := filepath.Join(dir, "mosquitto.conf")
		if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		var running *exec.Cmd
		stop := func() {
			_ = running.Process.Kill()
			_ = running.Wait() // says that it was killed
		}
		launch := func() {
			running = exec.Command(program, "-c", config)
			if err := running.Start(); err != nil {
				t.Fatal(err)
			}
			eventually(t, "mosquitto", func() bool {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					return false
				}
				c.Close()
				return true
			})
		}
		launch()
		t.Cleanup(func() { stop() })
		return broker{url: url, addr: addr, forget: func() { stop(); launch() }}
	})
}
