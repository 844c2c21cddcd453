package config

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func writeRegistration(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "registration.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestNewRegistration(t *testing.T) {
	m := &Matrix{ServerName: "a.example.org:8448", User: "gate.post", ControlRoom: "gate+post"}
	reg := NewRegistration(m, "http://127.0.0.1:29333", "as+token", "hs=token")
	back, err := LoadRegistration(writeRegistration(t, string(reg.YAML())))
	if err != nil {
		t.Fatalf("%v\n%s", err, reg.YAML())
	}
	if len(back.Warnings) > 0 {
		t.Errorf("warns: %q", back.Warnings)
	}
	if back.ASToken.Reveal() != "as+token" || back.HSToken.Reveal() != "hs=token" || back.ID != "gatepost" ||
		back.URL != "http://127.0.0.1:29333" || back.SenderLocalpart == m.User || back.RateLimited {
		t.Errorf("came back as %+v", back)
	}
	if err := back.Covers(m); err != nil {
		t.Errorf("does not cover what it was made for: %v", err)
	}
	if err := reg.Covers(m); err != nil {
		t.Errorf("does not cover what it was made for: %v", err)
	}
	for name, want := range map[string]bool{
		"@gatepost_door:a.example.org:8448":       true,
		"@gate.post:a.example.org:8448":           true,
		"#gatepost_r_0123:a.example.org:8448":     true,
		"#gate+post:a.example.org:8448":           true,
		"@gateXpost:a.example.org:8448":           false,
		"@gatepost_door:aXexample.org:8448":       false,
		"@gatepost_door:a.example.org:84480":      false,
		"@eve_gatepost_door:a.example.org:8448":   false,
		"@alice:a.example.org:8448":               false,
		"#gatepost:a.example.org:8448":            false,
		"x@gatepost_door:a.example.org:8448":      false,
		"@gatepost_door:a.example.org:8448.evil":  false,
		"@gatepost_door:evil.a.example.org:8448 ": false,
	} {
		found := false
		for _, n := range append(back.Namespaces.Users, back.Namespaces.Aliases...) {
			if regexp.MustCompile(n.Regex).MatchString(name) { // anywhere, as the laxest homeserver does
				found = true
			}
		}
		if found != want {
			t.Errorf("%s: matches %v, want %v", name, found, want)
		}
	}
}

const goodRegistration = `id: gatepost
url: http://127.0.0.1:29333
as_token: abc
hs_token: def
sender_localpart: gatepost_as
rate_limited: false
receive_ephemeral: true
io.element.something: {a: [1, 2]}
namespaces:
  users:
    - {regex: '^@gatepost_.*:example\.org$', exclusive: true}
    - {regex: '^@gatepost:example\.org$', exclusive: true}
  aliases:
    - {regex: '^#gatepost_.*:example\.org$', exclusive: true}
    - {regex: '^#gatepost:example\.org$', exclusive: true}
  rooms: []
`

func TestLoadRegistration(t *testing.T) {
	replace := func(old, with string) string {
		if !strings.Contains(goodRegistration, old) {
			t.Fatalf("%q is not in the good one", old)
		}
		return strings.Replace(goodRegistration, old, with, 1)
	}
	m := &Matrix{ServerName: "example.org", User: "gatepost", ControlRoom: "gatepost"}
	for _, row := range []struct{ name, text, want, warning string }{
		{name: "good", text: goodRegistration},
		{name: "empty", text: "", want: "r.yaml: the file is empty; `gatepost registration` writes one"},
		{name: "no token", text: replace("as_token: abc\n", ""), want: "r.yaml:1:1: as_token: is required: the token that gatepost shows the homeserver"},
		{name: "empty token", text: replace("hs_token: def", `hs_token: ""`), want: "r.yaml:4:11: hs_token: is empty"},
		{name: "token with a space", text: replace("def", "de f"), want: "r.yaml:4:11: hs_token: is not a token: letters, digits and - . _ ~ + / = only; make one with `openssl rand -hex 32`"},
		{name: "one token for both", text: replace("def", "abc"), want: "r.yaml:4:11: hs_token: is the same as as_token; each side needs a token of its own"},
		{name: "url", text: replace("http://127.0.0.1:29333", "127.0.0.1:29333"), want: `r.yaml:2:6: url: "127.0.0.1:29333" is not a URL that begins with http or https, then ://`},
		{name: "no url", text: replace("http://127.0.0.1:29333", "null")},
		{name: "localpart", text: replace("gatepost_as", `"@bot:example.org"`), want: `r.yaml:5:19: sender_localpart: "@bot:example.org" is not a localpart: lower-case letters, digits and . _ = - / +`},
		{name: "regex", text: replace("'^@gatepost:", "'(^@gatepost:"), want: `r.yaml:12:15: namespaces.users[1].regex: "(^@gatepost:example\\.org$" is not a regular expression`},
		{name: "id of two lines", text: replace("id: gatepost", `id: "gate\npost"`), want: `r.yaml:1:5: id: "gate\npost" is not a line of text`},
		{name: "type", text: replace("rate_limited: false", "rate_limited: perhaps"), want: `r.yaml:6:15: rate_limited: "perhaps" is not true or false`},
		{name: "rate limited", text: replace("rate_limited: false\n", ""), warning: "r.yaml:1:1: rate_limited: the homeserver may slow the gateway down to a message in five seconds; write rate_limited: false"},
		{name: "the bot as sender", text: replace("gatepost_as", "gatepost"), want: `r.yaml:5:19: sender_localpart: "gatepost" is the gateway's bot (matrix.user); it must be a user of its own, since some homeservers let the sender not read its rooms`},
		{name: "no bot", text: replace("    - {regex: '^@gatepost:example\\.org$', exclusive: true}\n", ""), want: "r.yaml:10:3: namespaces.users: no exclusive entry matches @gatepost:example.org"},
		{name: "not exclusive", text: replace(`'^#gatepost_.*:example\.org$', exclusive: true`, `'^#gatepost_.*:example\.org$', exclusive: false`), want: "r.yaml:13:3: namespaces.aliases: no exclusive entry matches #gatepost_x:example.org"},
		{name: "other server", text: strings.ReplaceAll(goodRegistration, "example", "elsewhere"), want: "r.yaml:10:3: namespaces.users: no exclusive entry matches @gatepost:example.org\n" +
			"r.yaml:10:3: namespaces.users: no exclusive entry matches @gatepost_x:example.org\n" +
			"r.yaml:13:3: namespaces.aliases: no exclusive entry matches #gatepost_x:example.org\n" +
			"r.yaml:13:3: namespaces.aliases: no exclusive entry matches #gatepost:example.org"},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := writeRegistration(t, row.text)
			reg, err := LoadRegistration(path)
			if err == nil {
				if err = reg.Covers(m); err != nil && !errors.Is(err, ErrRegistration) {
					t.Errorf("%v is not ErrRegistration", err)
				}
				if got := strings.ReplaceAll(strings.Join(reg.Warnings, "\n"), path, "r.yaml"); got != row.warning {
					t.Errorf("warnings %q, want %q", got, row.warning)
				}
			}
			got := ""
			if err != nil {
				got = strings.ReplaceAll(err.Error(), path, "r.yaml")
				if !errors.Is(err, ErrInvalid) {
					t.Error("is not ErrInvalid")
				}
			}
			if got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}
