package broker

import (
	"fmt"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/mqtt/topic"
)

func TestParsePermission(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"a/b/#":            "",
		"a/{user}/#":       "",
		"{client}/+":       "",
		"pre-{client}/x":   "",
		"{user}-{client}":  "",
		"{{x}}/#":          "",
		"":                 "empty",
		"a/{device}/#":     "unknown capture {device}",
		"a/{user/#":        `"{" without "}"`,
		"a/{client}#":      "whole levels",
		"a/{client}+":      "whole levels",
		"#/{user}":         "last level",
		"a\x00":            "NUL",
		"{user}/{client}#": "whole levels",
	} {
		p, err := ParsePermission(s)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", s, err, want)
		}
		if err == nil && p.String() != s {
			t.Errorf("%q became %q", s, p)
		}
	}
	if _, ok := (Permission{}).filter("a", "b"); ok {
		t.Error("the zero value permits something")
	}
}

func TestPermissionOfAClient(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ permission, user, client, want string }{
		{"a/#", "u", "c", "a/#"},
		{"a/{client}/#", "u", "c", "a/c/#"},
		{"{user}/{client}/#", "u", "c", "u/c/#"},
		{"{{user}}/x", "u", "c", "{user}/x"},
		{"dev-{client}", "u", "lamp 1.2", "dev-lamp 1.2"},
		{"a/{client}/#", "+", "c", "a/c/#"}, // the user is not used
		{"a/{client}/#", "u", "+", ""},
		{"a/{client}/#", "u", "#", ""},
		{"a/{client}/#", "u", "x/../y", ""},
		{"a/{client}", "u", "#", ""},
		{"a/b{client}", "u", "+", ""},
		{"{client}/#", "u", "$SYS", ""},
		{"{client}/#", "u", "$share", ""},
		{"a/{client}/#", "u", "", ""},
		{"a/{client}/#", "u", "x\x00y", ""},
		{"a/{client}/#", "u", "\xff", ""},
		{"a/{user}/#", "u/v", "c", ""},
	} {
		p := permissions(t, tc.permission)[0]
		f, ok := p.filter(tc.user, tc.client)
		if f.String() != tc.want || ok != (tc.want != "") {
			t.Errorf("%q of %q %q: %q %v, want %q", tc.permission, tc.user, tc.client, f, ok, tc.want)
		}
	}
}

// However a client calls itself, a permission with its id gives it one level at the place where it stands, or nothing.
func FuzzClientCannotWidenAPermission(f *testing.F) {
	for _, s := range []string{"c", "+", "#", "a/b", "$SYS", "\x00", "", "{user}", "\xff"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, user, client string) {
		for _, s := range []string{"a/{client}/b", "{client}/b", "a/{user}/{client}", "x{client}/#", "a/{user}-{client}"} {
			p, err := ParsePermission(s)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := p.filter(user, client)
			if !ok {
				continue
			}
			if strings.Count(got.String(), "/") != strings.Count(s, "/") || strings.Contains(got.String(), "+") ||
				strings.Count(got.String(), "#") != strings.Count(s, "#") || got.String()[0] == '$' {
				t.Errorf("%q for %q %q became %q", s, user, client, got)
			}
			if _, err := topic.ParseFilter(got.String()); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestPlaceholders(t *testing.T) {
	t.Parallel()
	f := start(t, func(cfg *Config) {
		cfg.Accounts = []Account{{
			User: "house", Password: "p", Publish: permissions(t, "want/{user}/{client}/#"), Subscribe: permissions(t, "cmd/{client}"),
		}}
	})
	log := func(id string) login { return login{id: id, level: 5, user: "house", password: "p", clean: true} }
	may := func(c *raw, name string, want bool) {
		t.Helper()
		c.send(t, c.publish(publish{topic: name, qos: 1, id: 9, payload: "x"}))
		if code := c.want(t, kindPuback).code(); (code < 0x80) != want { // 0x10: nobody has subscribed
			t.Errorf("publish to %s: code %x, want permitted: %v", name, code, want)
		}
	}
	lamp := connect(t, f.addr, log("lamp"))
	may(lamp, "want/house/lamp/on", true)
	may(lamp, "want/house/door/on", false)
	if codes := lamp.subscribe(t, 1, 0, "cmd/lamp", "cmd/door", "cmd/+", "cmd/{client}"); fmt.Sprintf("%x", codes) != "00878787" {
		t.Errorf("SUBACK %x", codes)
	}
	for _, id := range []string{"+", "#", "lamp/#"} {
		c := connect(t, f.addr, log(id))
		may(c, "want/house/lamp/on", false)
		may(c, "want/house/+/on", false)
		if codes := c.subscribe(t, 1, 0, "cmd/lamp", "cmd/+", "cmd/#"); fmt.Sprintf("%x", codes) != "878787" {
			t.Errorf("client %q: SUBACK %x", id, codes)
		}
	}
	will := log("lamp2")
	will.will = "want/house/lamp/gone"
	if _, code, _ := try(t, f.addr, will); code != 0x87 {
		t.Errorf("another one's will: CONNACK %x", code)
	}
	will.will = "want/house/lamp2/gone"
	c := connect(t, f.addr, will)
	n := len(f.delivered())
	c.Close()
	f.await(t, n+1)
	// A session that is away has the rights of its account as they are now.
	connect(t, f.addr, login{id: "away", user: "house", password: "p"}).subscribe(t, 1, 1, "cmd/away")
	if err := f.SetAccounts([]Account{{User: "house", Password: "p", Subscribe: permissions(t, "news/{client}")}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are gone", func() bool { return len(f.Clients()) == 0 })
	if err := f.Publish(t.Context(), "cmd/away", []byte("x"), 1, false); err != nil {
		t.Fatal(err)
	}
	back, _, present := try(t, f.addr, login{id: "away", user: "house", password: "p"})
	if !present {
		t.Error("its session is gone")
	}
	back.quiet(t)
}
