package mqtt

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

func deliverNothing(topic.Message, func(error)) {}

func TestNewRefuses(t *testing.T) {
	a := newAuthority(t)
	junk := filepath.Join(t.TempDir(), "junk.pem")
	if err := os.WriteFile(junk, []byte("not PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		cfg  Config
		want string // part of the error
	}{
		{"no URL", Config{}, `the scheme is ""`},
		{"other scheme", Config{URL: "tcp://h"}, `the scheme is "tcp"`},
		{"no host", Config{URL: "mqtt://:1883"}, "host is missing"},
		{"user in the URL", Config{URL: "mqtt://u:secret@h"}, "user and password do not belong"},
		{"port", Config{URL: "mqtt://u:secret@h:x"}, "invalid port"},
		{"path", Config{URL: "mqtt://h/mqtt"}, "has no path"},
		{"query", Config{URL: "mqtts://h?x"}, "has no path"},
		{"fragment", Config{URL: "ws://h/#x"}, "nothing can follow"},
		{"no client id", Config{URL: "mqtt://h"}, "client id"},
		{"long client id", Config{URL: "mqtt://h", ClientID: strings.Repeat("x", 65536)}, "65535 bytes"},
		{"NUL in the user", Config{URL: "mqtt://h", ClientID: "x", User: "a\x00"}, "without NUL"},
		{"password alone", Config{URL: "mqtt://h", ClientID: "x", Password: "p"}, "without a user"},
		{"key alone", Config{URL: "mqtts://h", ClientID: "x", KeyFile: "k"}, "without the other"},
		{"TLS files without TLS", Config{URL: "mqtt://h", ClientID: "x", CAFile: a.file("ca.pem")}, "they need mqtts"},
		{"no CA file", Config{URL: "mqtts://h", ClientID: "x", CAFile: a.file("none")}, "no such file"},
		{"CA file without PEM", Config{URL: "wss://h", ClientID: "x", CAFile: junk}, "no certificate in PEM"},
		{"key of another", Config{URL: "mqtts://h", ClientID: "x", CertFile: a.file("client.pem"), KeyFile: a.file("server.key")}, "certificate and key"},
		{"payload", Config{URL: "mqtt://h", ClientID: "x", MaxPayload: 1 << 28}, "max payload"},
		{"in flight", Config{URL: "mqtt://h", ClientID: "x", MaxInFlight: -1}, "max in flight"},
		{"keep alive", Config{URL: "mqtt://h", ClientID: "x", KeepAlive: 1500 * time.Millisecond}, "keep alive"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Deliver = deliverNothing
			_, err := New(tt.cfg)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q in it", err, tt.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
	if _, err := New(Config{URL: "mqtt://h", ClientID: "x"}); err == nil || !strings.Contains(err.Error(), "deliver") {
		t.Errorf("without Deliver: %v", err)
	}
}

func TestURLDefaults(t *testing.T) {
	for in, want := range map[string]string{
		"mqtt://broker.local": "mqtt://broker.local:1883",
		"mqtts://h/":          "mqtts://h:8883/",
		"ws://h":              "ws://h:80/mqtt",
		"wss://h:8084/ws?k=1": "wss://h:8084/ws?k=1",
		"mqtt://[::1]":        "mqtt://[::1]:1883",
	} {
		u, err := parseURL(in)
		if err != nil || u.String() != want {
			t.Errorf("%s is %v (%v), want %s", in, u, err, want)
		}
		if err := CheckURL(in); err != nil {
			t.Error(err)
		}
	}
	if CheckURL("http://h") == nil {
		t.Error("http passes")
	}
}
