package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// validate checks what no single value shows: forms that depend on the key, and keys against each other. Values that
// could not be read have been reported already and are left out.
func validate(c *Config, r *report) {
	switch matrix, mqtt := r.places.has("matrix"), r.places.has("mqtt"); {
	case !matrix && !mqtt && !r.places.has("turn"):
		r.failAt(1, 1, "", "there is nothing to do: the sections matrix, mqtt and turn are missing")
	case matrix && !mqtt:
		r.fail("mqtt", "is required beside matrix: `mqtt: {}` is the embedded broker, url an outside one")
	case !matrix && r.places.has("mqtt.url"):
		r.fail("mqtt.url", "without the section matrix there is nothing to do with the messages of an outside broker")
	}
	if c.Matrix != nil {
		r.matrix(c.Matrix)
	}
	if c.MQTT != nil {
		r.mqtt(c.MQTT)
	}
	if c.Turn != nil {
		r.turn(c.Turn)
	}
	if c.Calls != nil {
		r.calls(c.Calls)
	}
	if c.Card != nil && c.Card.Every <= 0 {
		r.fail("card.every", "must be more than 0")
	}
	for i, name := range c.Conventions {
		if at := item("conventions", i); !r.failed[at] && !conventionForm.MatchString(name) {
			r.fail(at, "%s is not the name of a convention such as homeassistant, or name=prefix", quote(name))
		}
	}
	r.devices(c)
	r.local(c)
	r.listeners(c)
}

var conventionForm = regexp.MustCompile(`^[a-z0-9_]{1,64}(=.{1,255})?$`)

// any says that the file has one of the keys.
func (r *report) any(paths ...string) bool {
	return slices.ContainsFunc(paths, r.places.has)
}

// given says that a value is there to be judged: it was read and is not empty.
func (r *report) given(path, value string) bool { return value != "" && !r.failed[path] }

// localpart of users and aliases that gatepost makes (Matrix v1.19, user identifiers).
var localpartForm = regexp.MustCompile(`^[a-z0-9._=/+-]{1,200}$`)

func (r *report) matrix(m *Matrix) {
	if r.given("matrix.homeserver", m.Homeserver) {
		u, err := parseURL(m.Homeserver, "http", "https")
		switch {
		case err != nil:
			r.fail("matrix.homeserver", "%s", err)
		case u.RawQuery != "" || u.Fragment != "":
			r.fail("matrix.homeserver", "%s has a query or a fragment; expected a URL such as http://127.0.0.1:8008", quote(m.Homeserver))
		default:
			m.Homeserver = strings.TrimRight(m.Homeserver, "/")
		}
	}
	if r.given("matrix.server_name", m.ServerName) && !isServerName(m.ServerName) {
		r.fail("matrix.server_name", "%s is not a server name such as example.org or localhost:8448, without https://", quote(m.ServerName))
	}
	for _, l := range []struct{ path, value string }{{"matrix.user", m.User}, {"matrix.control_room", m.ControlRoom}} {
		switch {
		case r.failed[l.path]:
		case !localpartForm.MatchString(l.value):
			r.fail(l.path, "%s is not a localpart: lower-case letters, digits and . _ = - / +, without @, # and server", quote(l.value))
		case strings.HasPrefix(l.value, "gatepost_"):
			r.fail(l.path, "%s begins with gatepost_, which is for devices", quote(l.value))
		}
	}
	switch {
	case r.failed["matrix.mode"]:
	case m.Mode == ModeAccount:
		r.account(m)
	default:
		for _, key := range []string{"password", "token"} {
			if path := r.firstOf("matrix."+key, "matrix."+key+"_file"); path != "" {
				r.fail(path, "is for mode: account; in mode: appservice the tokens stand in the registration")
			}
		}
		r.address("matrix.listen", m.Listen)
	}
	r.people(m)
}

// firstOf is the first of paths that the file has; "" for none.
func (r *report) firstOf(paths ...string) string {
	if i := slices.IndexFunc(paths, r.places.has); i >= 0 {
		return paths[i]
	}
	return ""
}

func (r *report) account(m *Matrix) {
	for _, key := range []string{"registration", "listen"} {
		if r.places.has("matrix." + key) {
			r.fail("matrix."+key, "is for mode: appservice")
		}
	}
	password, token := r.firstOf("matrix.password", "matrix.password_file"), r.firstOf("matrix.token", "matrix.token_file")
	switch {
	case password == "" && token == "":
		r.fail("matrix.password_file", "is required in mode: account; or give token_file")
	case password != "" && token != "":
		r.fail(token, "a password is given too; keep one")
	}
}

func (r *report) people(m *Matrix) {
	seen := map[string]string{} // user to path
	once := func(path, user string) {
		if !r.given(path, user) {
			return
		}
		first, twice := seen[user]
		switch {
		case twice:
			r.fail(path, "%s is named twice; first as %s on line %d", user, first, r.places.line(first))
		case user == string(m.Bot()):
			r.fail(path, "%s is the gateway's own user", user)
		default:
			seen[user] = path
		}
	}
	for i, owner := range m.Owners {
		once(item("matrix.owners", i), string(owner))
	}
	for i, member := range m.Members {
		at := item("matrix.members", i)
		if !r.elsewhere(m, i) {
			once(at+".user", string(member.User))
		}
		if member.Power < 0 || member.Power > 100 {
			r.fail(at+".power", "%d is not a power from 0 to 100", member.Power)
		}
	}
	if len(m.Owners) == 0 && !r.failed["matrix.owners"] {
		r.warn("matrix.owners", "nobody is named: nobody is invited to the rooms or may run a dangerous command")
	}
}

// elsewhere says whether member i is named for other spaces before, which is no mistake, and checks that it is.
func (r *report) elsewhere(m *Matrix, i int) (again bool) {
	member, at := m.Members[i], item("matrix.members", i)
	for j, space := range member.Spaces {
		if space == "" && !r.failed[item(at+".spaces", j)] {
			r.fail(item(at+".spaces", j), "a space has a name")
		}
	}
	for j, other := range m.Members[:i] {
		before := item("matrix.members", j)
		if other.User != member.User || len(other.Spaces) == 0 || len(member.Spaces) == 0 {
			continue
		}
		again = true
		for k, space := range member.Spaces {
			if slices.Contains(other.Spaces, space) {
				r.fail(item(at+".spaces", k), "%s is named twice for %s; first as %s on line %d", member.User, quote(space), before, r.places.line(before))
			}
		}
		if other.Hours != member.Hours {
			r.fail(at+".hours", "%s has other hours on line %d; they are the same everywhere", member.User, r.places.line(before))
			break
		}
	}
	return again
}

// local checks what concerns this machine only.
func (r *report) local(c *Config) {
	if c.Store.MaxSize < 8<<20 && !r.failed["store.max_size"] {
		r.fail("store.max_size", "%s is too small; expected 8MiB or more", c.Store.MaxSize)
	}
	// sun_path of sockaddr_un (unix(7)) less the final NUL.
	const longest = 107
	if n := len(c.Admin.Socket); n > longest && !r.failed["admin.socket"] {
		r.fail("admin.socket", "the name of the socket has %d characters and may have %d; give a shorter one: %s", n, longest, quote(c.Admin.Socket))
	}
	if c.Admin.Listen == "" {
		return
	}
	host, ok := r.address("admin.listen", c.Admin.Listen)
	if ok && !loopback(host) && c.Admin.Token.IsZero() && !r.any("admin.token", "admin.token_file") {
		r.fail("admin.listen", "%s can be reached from other machines; give token_file too, or listen on 127.0.0.1", quote(c.Admin.Listen))
	}
}

// listeners finds two parts that want the same TCP port of the same address.
func (r *report) listeners(c *Config) {
	first := map[string]string{} // host:port to path
	claim := func(path, hostport string) {
		if r.failed[path] || hostport == "" || strings.HasSuffix(hostport, ":0") {
			return
		}
		if other, taken := first[hostport]; taken {
			r.fail(path, "%s is taken by %s already", hostport, other)
			return
		}
		first[hostport] = path
	}
	if c.Matrix != nil && c.Matrix.Mode == ModeAppservice {
		claim("matrix.listen", c.Matrix.Listen)
	}
	if c.MQTT != nil {
		for i, l := range c.MQTT.Listen {
			if u, err := url.Parse(l); err == nil {
				claim(item("mqtt.listen", i), u.Host)
			}
		}
	}
	claim("admin.listen", c.Admin.Listen)
}

// address checks host:port; the host may be empty, which is every address of the machine.
func (r *report) address(path, value string) (host string, ok bool) {
	if !r.given(path, value) {
		return "", false
	}
	host, port, err := net.SplitHostPort(value)
	if err != nil || !isPort(port) || !isHost(host) && host != "" {
		r.fail(path, "%s is not host:port such as 127.0.0.1:8090", quote(value))
		return "", false
	}
	return host, true
}

func isPort(s string) bool {
	_, err := strconv.ParseUint(s, 10, 16)
	return err == nil && (s == "0" || s[0] != '0')
}

var hostForm = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,252})$`)

func isHost(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	return hostForm.MatchString(s) && !strings.Contains(s, "..")
}

// loopback says that host can be reached from this machine only. A name other than localhost counts as reachable.
func loopback(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().IsLoopback()
	}
	return strings.EqualFold(host, "localhost")
}

// parseURL checks a URL of one of the schemes, with a host and without a user. Errors do not show a password.
func parseURL(text string, schemes ...string) (*url.URL, error) {
	shown := quote(text)
	if strings.Contains(text, "@") {
		shown = "the value"
	}
	u, err := url.Parse(text)
	possible := oneOf(strings.Join(schemes, " "))
	switch {
	case err != nil || u.Opaque != "" || !slices.Contains(schemes, u.Scheme):
		if other := otherScheme(text, schemes); other != "" {
			return nil, fmt.Errorf("%s has the wrong scheme; write %s://", shown, other)
		}
		return nil, fmt.Errorf("%s is not a URL that begins with %s, then ://", shown, possible)
	case u.User != nil:
		return nil, fmt.Errorf("the value has a user in it; user and password have keys of their own")
	case !isHost(u.Hostname()):
		return nil, fmt.Errorf("%s has no host, or not a proper one", shown)
	case u.Port() != "" && !isPort(u.Port()), strings.HasSuffix(u.Host, ":"):
		return nil, fmt.Errorf("%s has no proper port", shown)
	}
	return u, nil
}

// listenURL is parseURL for an address to listen on: no host means every address of the machine.
func listenURL(text string, schemes ...string) (*url.URL, error) {
	scheme, port, ok := strings.Cut(text, "://:")
	if !ok || strings.Contains(port, "@") {
		return parseURL(text, schemes...)
	}
	u, err := parseURL(scheme+"://any:"+port, schemes...)
	if err != nil {
		return nil, fmt.Errorf("%s is not scheme://host:port with the scheme %s", quote(text), oneOf(strings.Join(schemes, " ")))
	}
	u.Host = ":" + u.Port()
	return u, nil
}

// otherScheme translates schemes that other programs use for the same thing.
func otherScheme(text string, schemes []string) string {
	scheme, _, ok := strings.Cut(strings.ToLower(text), "://")
	if !ok || !slices.Contains(schemes, "mqtt") {
		return ""
	}
	return map[string]string{"tcp": "mqtt", "ssl": "mqtts", "tls": "mqtts", "http": "ws", "https": "wss"}[scheme]
}
