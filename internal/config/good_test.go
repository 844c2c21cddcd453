package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

func goodEnv() []string { return []string{"GATEPOST_TOKEN=${t}", "GATEPOST_BROKER=broker.local"} }

// load reads a file of testdata from a copy that only we can read, in the folder that it gives.
func load(t *testing.T, file string) (cfg *Config, dir string) {
	t.Helper()
	top := t.TempDir()
	if err := os.CopyFS(top, os.DirFS("testdata")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, "secret"} {
		if err := os.Chmod(filepath.Join(top, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(top, file)
	cfg, err := Load(path, goodEnv())
	if err != nil {
		t.Fatal(err)
	}
	return cfg, filepath.Dir(path)
}

func TestSmall(t *testing.T) {
	cfg, dir := load(t, "good/small.yaml")
	if len(cfg.Warnings) > 0 {
		t.Errorf("a file that asks for nothing unusual warns: %q", cfg.Warnings)
	}
	want := &Config{
		Matrix: &Matrix{
			Homeserver: "http://127.0.0.1:8008", ServerName: "example.org", Mode: ModeAppservice,
			Registration: dir + "/registration.yaml", Listen: "127.0.0.1:29333", User: "gatepost",
			Owners: []ids.UserID{"@alice:example.org"}, ControlRoom: "gatepost", Encryption: "allow",
		},
		MQTT: &MQTT{
			Listen: []string{"mqtt://127.0.0.1:1883"}, MaxPayload: 4 << 20,
			Limits:   &MQTTLimits{Connections: 10_000, ConnectionsPerAddress: 2_000, LoginFailures: 10, ConnectTime: 10 * time.Second},
			Sessions: &MQTTSessions{Expire: 30 * 24 * time.Hour, Max: 20_000},
			Queue:    &MQTTQueue{Messages: 100_000, Bytes: 64 << 20, Full: QueueDropOldest},
			Retained: &MQTTRetained{Messages: 50_000, Bytes: 64 << 20},
		},
		Discovery: "ask",
		Commands:  Commands{Offline: "refuse"},
		Devices:   []Device{{Topic: "sensors/{device}/{reading}", Class: "event"}},
		Timezone:  time.Local,
		Store:     Store{Path: dir + "/data", MaxSize: 256 << 20},
		Admin:     Admin{Listen: "127.0.0.1:8090", Socket: dir + "/data/gatepost.sock"},
		Log:       Log{Format: "text"},
		places:    cfg.places,
	}
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got\n%+v\nwant\n%+v", cfg, want)
	}
	if bot := cfg.Matrix.Bot(); bot != "@gatepost:example.org" {
		t.Errorf("bot %s", bot)
	}
}

func TestOutside(t *testing.T) {
	cfg, dir := load(t, "good/outside.yaml")
	if len(cfg.Warnings) > 0 {
		t.Errorf("warns: %q", cfg.Warnings)
	}
	m, q := cfg.Matrix, cfg.MQTT
	for _, row := range []struct {
		name      string
		got, want any
	}{
		{"homeserver without its slash", m.Homeserver, "https://matrix.example.org"},
		{"what the environment gives is not expanded again", m.Token.Reveal(), "${t}"},
		{"power 0 stays", m.Members[0].Power, 0},
		{"power by default", m.Members[1].Power, 25},
		{"encryption", m.Encryption, "off"},
		{"no registration in account mode", m.Registration + m.Listen, ""},
		{"port of the scheme", q.URL, "wss://broker.local:443/mqtt"},
		{"nothing to listen on beside a url", q.Listen, []string(nil)},
		{"secret without its newline", q.Password.Reveal(), "hunter2"},
		{"path", q.CAFile, dir + "/ca.pem"},
		{"size", q.MaxPayload, Size(1_000_000)},
		{"literal ${", cfg.Devices[0].Post, "${not_expanded} {{ value }}"},
		{"on is a word", cfg.Devices[0].Commands[0].Name, "on"},
		{"ON is a word", cfg.Devices[0].Commands[0].Payload, "ON"},
		{"days", cfg.Devices[0].Commands[0].Expires, 36 * time.Hour},
		{"off is a word", cfg.Devices[0].Commands[1].Name, "off"},
		{"0 as text", cfg.Devices[0].Commands[1].Payload, "0"},
		{"dangerous", cfg.Devices[0].Commands[1].Grade, GradeDangerous},
		{"class by every", cfg.Devices[1].Class, "telemetry"},
		{"digits as text", cfg.Devices[2].Device, "007"},
		{"zone", cfg.Timezone, time.UTC},
		{"absolute path", cfg.Admin.Socket, "/var/lib/gatepost/gatepost.sock"},
		{"level", cfg.Log.Level.String(), "DEBUG"},
	} {
		if !reflect.DeepEqual(row.got, row.want) {
			t.Errorf("%s: got %v, want %v", row.name, row.got, row.want)
		}
	}
}

func TestEverythingWarns(t *testing.T) {
	cfg, dir := load(t, "good/everything.yaml")
	var got []string
	for _, w := range cfg.Warnings {
		place, rest, _ := strings.Cut(w, ": ")
		key, _, _ := strings.Cut(rest, ": ")
		if !strings.HasPrefix(place, dir+"/everything.yaml:") {
			t.Errorf("%q has no place", w)
		}
		got = append(got, key)
	}
	slices.Sort(got)
	want := []string{
		"devices[0].keys",
		"matrix.owners", "mqtt.anonymous",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if want := []string{"mqtt://127.0.0.1:1883", "ws://localhost:8083/mqtt", "mqtts://:8883"}; !slices.Equal(cfg.MQTT.Listen, want) {
		t.Errorf("listen %q", cfg.MQTT.Listen)
	}
}

// TestEffective reads back what Effective writes: it must be a good file that means the same, save for the secrets.
func TestEffective(t *testing.T) {
	for _, file := range []string{"good/small.yaml", "good/outside.yaml", "good/everything.yaml"} {
		cfg, _ := load(t, file)
		text := cfg.Effective()
		for _, secret := range []string{"hunter2", "turn secret", "${t}", "token: abc"} {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s: shows the secret %q:\n%s", file, secret, text)
			}
		}
		again, err := Parse(file, text, nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", file, err, text)
		}
		if twice := again.Effective(); string(twice) != string(text) {
			t.Errorf("%s: got\n%s\nthen\n%s", file, text, twice)
		}
		if live, restart := Diff(hide(cfg), hide(again)); len(live)+len(restart) > 0 {
			t.Errorf("%s: %q %q differ after\n%s", file, live, restart, text)
		}
	}
}

// hide takes the secrets out of cfg.
func hide(cfg *Config) *Config {
	walk(reflect.ValueOf(cfg).Elem(), "", func(_ string, v reflect.Value) bool {
		if secret, ok := v.Addr().Interface().(*Secret); ok {
			*secret = Secret{}
		}
		return true
	})
	return cfg
}

func TestMissingFile(t *testing.T) {
	_, err := Load("testdata/nobody.yaml", nil)
	if want := "testdata/nobody.yaml: cannot be read: no such file or directory"; err == nil || err.Error() != want || !errors.Is(err, ErrInvalid) {
		t.Errorf("got %v, want %s", err, want)
	}
	_, err = Load("testdata", nil)
	if want := "testdata: cannot be read: is not a regular file"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestBounds(t *testing.T) {
	laughs := "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
	for _, c := range "123456789" {
		laughs += "a" + string(c) + ": &a" + string(c) + " [" + strings.Repeat("*a"+string(c-1)+", ", 9) + "*a" + string(c-1) + "]\n"
	}
	for _, row := range []struct{ name, file, want string }{
		{"size", strings.Repeat("#", maxFile+1), "x.yaml: is larger than 1MiB"},
		{"values", "conventions: [" + strings.Repeat("a,", maxValues) + "a]", "the file has more than 50000 keys and values"},
		{"keys", strings.Repeat("? 0\n", maxValues*2), "the file has more than 50000 keys and values"},
		{"aliases", laughs + "devices: [{topic: a, keys: *a9}, *a9]\nconventions: *a9\n", "devices[0].keys: is a list"},
		{"alias values", "conventions: [a]\nmqtt: {accounts: &l [" + strings.Repeat("{publish: &p ["+strings.Repeat("a,", 300)+"a]},", 1) +
			strings.Repeat("{publish: *p},", 300) + "]}", "the file has more than 50000 keys and values"},
		{"mistakes", "devices: [" + strings.Repeat("{nobody: 1},", 500) + "]", "and 901 more mistakes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := Parse("x.yaml", []byte(row.file), nil)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %.2000v\nwant %s", err, row.want)
			}
		})
	}
}
