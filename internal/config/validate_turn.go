package config

import (
	"maps"
	"net/netip"
	"slices"
)

// maxRealm is the longest realm that the relay takes, in bytes.
const maxRealm = 60

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func (r *report) turn(t *Turn) {
	for i, text := range t.Listen {
		at := item("turn.listen", i)
		if r.failed[at] {
			continue
		}
		u, err := listenURL(text, "udp", "tcp", "tls")
		switch {
		case err != nil:
			r.fail(at, "%s", err)
		case u.Port() == "":
			r.fail(at, "%s needs a port", quote(text))
		case u.Hostname() != "" && !isAddress(u.Hostname()):
			r.fail(at, "%s names a host; write the IP address to listen on, or none for all", quote(text))
		case u.Scheme == "tls" && !r.any("turn.cert_file", "turn.key_file"):
			r.fail(at, "tls needs cert_file and key_file")
		}
	}
	if len(t.Listen) == 0 && !r.failed["turn.listen"] {
		r.fail("turn.listen", "is empty; expected URLs such as udp://0.0.0.0:3478")
	}
	if n := len(t.Realm); n > maxRealm && !r.failed["turn.realm"] {
		r.fail("turn.realm", "has %d characters; at most %d keep the answer to a stranger short", n, maxRealm)
	}
	for i, a := range t.PublicIP {
		if at := item("turn.public_ip", i); a.IsUnspecified() && !r.failed[at] {
			r.fail(at, "%s is no address that anybody could send to", a)
		}
	}
	if r.places.has("turn.old_secret") && !r.any("turn.secret", "turn.secret_file") {
		r.fail("turn.old_secret", "needs secret or secret_file, which takes its place")
	}
	if len(t.Users) == 0 && !r.any("turn.secret", "turn.secret_file", "turn.users") {
		r.fail("turn.secret_file", "is required, or users: nobody could use the relay")
	}
	r.pair("turn", t.CertFile, t.KeyFile)
	first := map[string]int{}
	for i, u := range t.Users {
		at := item("turn.users", i) + ".user"
		if other, twice := first[u.User]; twice && r.given(at, u.User) {
			r.fail(at, "%s is named twice; first on line %d", quote(u.User), r.places.line(item("turn.users", other)+".user"))
		} else {
			first[u.User] = i
		}
	}
	limits := map[string]int64{
		"turn.limits.allocations_per_user":      int64(t.Limits.AllocationsPerUser),
		"turn.limits.bytes_per_second_per_user": int64(t.Limits.BytesPerSecondPerUser),
		"turn.limits.allocations":               int64(t.Limits.Allocations),
		"turn.limits.connections":               int64(t.Limits.Connections),
		"turn.limits.connections_per_address":   int64(t.Limits.ConnectionsPerAddress),
		"turn.limits.answers":                   int64(t.Limits.Answers),
		"turn.limits.answers_per_network":       int64(t.Limits.AnswersPerNetwork),
	}
	for _, path := range sortedKeys(limits) {
		if limits[path] <= 0 && !r.failed[path] {
			r.fail(path, "must be more than 0")
		}
	}
}

func (r *report) calls(c *Calls) {
	r.address("calls.listen_udp", c.ListenUDP)
	r.address("calls.listen_tcp", c.ListenTCP)
	for i, name := range c.Interfaces {
		if name == "" && !r.failed[item("calls.interfaces", i)] {
			r.fail(item("calls.interfaces", i), "is empty; expected the name of a network interface such as eth0")
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
