package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"unicode"
)

// Registration is what a homeserver and gatepost agree on (Matrix v1.19, Application Service API, registration). The
// file is shared with the homeserver, which may know more keys than these; those are let through.
type Registration struct {
	ID              string     `key:"id,required" want:"a name of its own, such as gatepost"`
	URL             string     `key:"url"` // where the homeserver finds us
	ASToken         Secret     `key:"as_token,required" want:"the token that gatepost shows the homeserver"`
	HSToken         Secret     `key:"hs_token,required" want:"the token that the homeserver shows gatepost"`
	SenderLocalpart string     `key:"sender_localpart,required" want:"the localpart of a user that nobody else uses, such as gatepost_as"`
	RateLimited     bool       `key:"rate_limited"`
	Namespaces      Namespaces `key:"namespaces,required" want:"the users and aliases that are ours"`

	// Warnings are for people: "file:line:col: key: text" each.
	Warnings []string

	places places
}

// Namespaces are the names that belong to an application service.
type Namespaces struct {
	Users   []Namespace `key:"users"`
	Aliases []Namespace `key:"aliases"`
	Rooms   []Namespace `key:"rooms"`
}

// Namespace is a pattern of names. Homeservers differ in whether they anchor it, so write ^ and $.
type Namespace struct {
	Regex     string `key:"regex,required" want:"a regular expression"`
	Exclusive bool   `key:"exclusive"` // nobody else may make such names
}

// RateLimited is true when a registration does not say otherwise, as homeservers have it.
func (r *Registration) defaults() { r.RateLimited = true }

// ErrRegistration is wrapped by the errors of Registration.Covers.
var ErrRegistration = errors.New("the registration does not fit the configuration")

// LoadRegistration reads the registration file at path; the error is an Errors. Unknown keys are fine, what matters is
// checked as strictly as the configuration. See Covers for whether it fits one.
func LoadRegistration(path string) (*Registration, error) {
	data, mode, err := readBounded(path, maxFile)
	if err != nil {
		return nil, Errors{{File: path, Reason: "cannot be read: " + reason(err) +
			" (`gatepost registration` writes one)", Err: err}}
	}
	return parseRegistration(path, data, mode)
}

func parseRegistration(path string, data []byte, mode fileMode) (*Registration, error) {
	d := &decoder{report: newReport(path), dir: filepath.Dir(path), read: readBounded, lax: true, literal: true, left: maxValues}
	reg := new(Registration)
	if !d.document(data, "`gatepost registration` writes one", reg) {
		return nil, d.errs.sorted()
	}
	d.exposed(mode)
	d.registration(reg)
	if err := d.errs.sorted(); err != nil {
		return nil, err
	}
	reg.places, reg.Warnings = d.places, d.warnings
	return reg, nil
}

// tokenForm is what fits into an Authorization header (RFC 6750 section 2.1).
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9._~+/=-]+$`)

func (r *report) registration(reg *Registration) {
	if r.given("url", reg.URL) {
		if _, err := parseURL(reg.URL, "http", "https"); err != nil {
			r.fail("url", "%s", err)
		}
	}
	for _, t := range []struct {
		path  string
		token Secret
	}{{"as_token", reg.ASToken}, {"hs_token", reg.HSToken}} {
		if !t.token.IsZero() && !tokenForm.MatchString(t.token.Reveal()) {
			r.fail(t.path, "is not a token: letters, digits and - . _ ~ + / = only; make one with `openssl rand -hex 32`")
		}
	}
	if !reg.ASToken.IsZero() && reg.ASToken.Reveal() == reg.HSToken.Reveal() {
		r.fail("hs_token", "is the same as as_token; each side needs a token of its own")
	}
	if r.given("sender_localpart", reg.SenderLocalpart) && !localpartForm.MatchString(reg.SenderLocalpart) {
		r.fail("sender_localpart", "%s is not a localpart: lower-case letters, digits and . _ = - / +", quote(reg.SenderLocalpart))
	}
	if r.given("id", reg.ID) && !printable(reg.ID) {
		r.fail("id", "%s is not a line of text", quote(reg.ID))
	}
	names := reg.Namespaces
	for key, list := range map[string][]Namespace{"users": names.Users, "aliases": names.Aliases, "rooms": names.Rooms} {
		for i, n := range list {
			at := item("namespaces."+key, i) + ".regex"
			if _, err := regexp.Compile(n.Regex); r.given(at, n.Regex) && (err != nil || !printable(n.Regex)) {
				r.fail(at, "%s is not a regular expression", quote(n.Regex))
			}
		}
	}
	if reg.RateLimited && !r.failed["rate_limited"] {
		r.warn("rate_limited", "the homeserver may slow the gateway down to a message in five seconds; write rate_limited: false")
	}
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}

// Covers says whether the homeserver will let us be whom m wants us to be: bot, ghosts and aliases are in the exclusive
// namespaces, and the bot is not the sender. The error is an Errors; every one is ErrRegistration too.
func (r *Registration) Covers(m *Matrix) error {
	check := report{places: r.places, failed: map[string]bool{}}
	if m.User == r.SenderLocalpart {
		check.fail("sender_localpart", "%s is the gateway's bot (matrix.user); it must be a user of its own, since some homeservers let the sender not read its rooms",
			quote(r.SenderLocalpart))
	}
	for _, need := range []struct {
		key  string
		list []Namespace
		name string
	}{
		{"users", r.Namespaces.Users, string(m.Bot())},
		{"users", r.Namespaces.Users, "@gatepost_x:" + m.ServerName},
		{"aliases", r.Namespaces.Aliases, "#gatepost_x:" + m.ServerName},
		{"aliases", r.Namespaces.Aliases, "#" + m.ControlRoom + ":" + m.ServerName},
	} {
		if !covered(need.list, need.name) {
			check.fail("namespaces."+need.key, "no exclusive entry matches %s", need.name)
		}
	}
	for _, e := range check.errs {
		e.Err = ErrRegistration
	}
	return check.errs.sorted()
}

func covered(list []Namespace, name string) bool {
	for _, n := range list {
		// Anchored as Synapse does at the front; a homeserver that matches anywhere matches this, too.
		if re, err := regexp.Compile("^(?:" + n.Regex + ")"); err == nil && n.Exclusive && re.MatchString(name) {
			return true
		}
	}
	return false
}

// NewRegistration makes the registration that fits m. url is where the homeserver reaches matrix.listen; the tokens are
// long random texts that the caller made.
func NewRegistration(m *Matrix, url, asToken, hsToken string) *Registration {
	server := regexp.QuoteMeta(m.ServerName)
	exact := func(sigil, local string) Namespace {
		return Namespace{Regex: "^" + sigil + regexp.QuoteMeta(local) + ":" + server + "$", Exclusive: true}
	}
	return &Registration{
		ID: "gatepost", URL: url, ASToken: NewSecret(asToken), HSToken: NewSecret(hsToken),
		SenderLocalpart: "gatepost_as",
		Namespaces: Namespaces{
			Users:   []Namespace{{Regex: "^@gatepost_.*:" + server + "$", Exclusive: true}, exact("@", m.User)},
			Aliases: []Namespace{{Regex: "^#gatepost_.*:" + server + "$", Exclusive: true}, exact("#", m.ControlRoom)},
		},
	}
}

// YAML writes r as the file that the homeserver and gatepost read, tokens included: it belongs in a file of mode 0600.
func (r *Registration) YAML() []byte {
	var b strings.Builder
	b.WriteString("# Who gatepost is to the homeserver. Both read this file; the tokens are secrets.\n")
	for _, line := range []struct{ key, value string }{
		{"id", r.ID},
		{"url", r.URL},
		{"as_token", r.ASToken.Reveal()},
		{"hs_token", r.HSToken.Reveal()},
		{"sender_localpart", r.SenderLocalpart},
	} {
		fmt.Fprintf(&b, "%s: %s\n", line.key, single(line.value))
	}
	fmt.Fprintf(&b, "rate_limited: %t\nnamespaces:\n", r.RateLimited)
	for _, part := range []struct {
		key  string
		list []Namespace
	}{{"users", r.Namespaces.Users}, {"aliases", r.Namespaces.Aliases}, {"rooms", r.Namespaces.Rooms}} {
		if len(part.list) == 0 {
			fmt.Fprintf(&b, "  %s: []\n", part.key)
			continue
		}
		fmt.Fprintf(&b, "  %s:\n", part.key)
		for _, n := range part.list {
			fmt.Fprintf(&b, "    - {regex: %s, exclusive: %t}\n", single(n.Regex), n.Exclusive)
		}
	}
	return []byte(b.String())
}

// single writes text in YAML's single quotes, in which only the quote itself is special.
func single(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
