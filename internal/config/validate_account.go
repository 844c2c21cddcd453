package config

import (
	"fmt"
	"slices"
	"time"
)

// accounts of the embedded broker. What a hash and a permission look like is for the broker to say.
func (r *report) accounts(m *MQTT) {
	users, certificates, nobody := map[string]int{}, map[string]int{}, -1
	line := func(i int) int { return r.places.line(item("mqtt.accounts", i)) }
	for i, a := range m.Accounts {
		at := item("mqtt.accounts", i)
		if other, twice := users[a.User]; twice && r.given(at+".user", a.User) {
			r.fail(at+".user", "%s is named twice; first as mqtt.accounts[%d] on line %d", quote(a.User), other, line(other))
		} else {
			users[a.User] = i
		}
		r.login(m, at, a)
		if other, twice := certificates[a.Certificate]; twice && r.given(at+".certificate", a.Certificate) {
			r.fail(at+".certificate", "%s is that of mqtt.accounts[%d] on line %d too", quote(a.Certificate), other, line(other))
		} else {
			certificates[a.Certificate] = i
		}
		if a.Anonymous && nobody >= 0 {
			r.fail(at+".anonymous", "only one account can be for clients without a name; mqtt.accounts[%d] on line %d is", nobody, line(nobody))
		} else if a.Anonymous {
			nobody = i
		}
		for _, list := range []struct {
			key     string
			filters []string
		}{{"publish", a.Publish}, {"subscribe", a.Subscribe}} {
			if j := slices.Index(list.filters, ""); j >= 0 && !r.failed[item(at+"."+list.key, j)] {
				r.fail(item(at+"."+list.key, j), "is empty; expected a topic filter such as porch/#")
			}
		}
	}
}

// login says by what somebody may log in as a.
func (r *report) login(m *MQTT, at string, a Account) {
	password, hash := r.firstOf(at+".password", at+".password_file"), r.firstOf(at+".password_hash", at+".password_hash_file")
	switch {
	case password != "" && hash != "":
		r.fail(hash, "a password is given too; keep the hash")
	case password == "" && hash == "" && a.Certificate == "" && !a.Anonymous && !r.failed[at] && !r.failed[at+".certificate"] && !r.failed[at+".anonymous"]:
		r.fail(at+".password_hash", "is required: how the client logs in; or password_file, certificate, or anonymous: true")
	}
	if r.given(at+".certificate", a.Certificate) && m.ClientCAFile == "" && !r.failed["mqtt.client_ca_file"] {
		r.fail(at+".certificate", "needs mqtt.client_ca_file, the certificates that sign those of clients")
	}
}

// brokerLimits are more than 0, and not so large that they were no limits.
func (r *report) brokerLimits(m *MQTT) {
	for _, n := range []struct {
		path        string
		value, most int
	}{
		{"mqtt.limits.connections", m.Limits.Connections, 1_000_000},
		{"mqtt.limits.connections_per_address", m.Limits.ConnectionsPerAddress, 1_000_000},
		{"mqtt.limits.login_failures", m.Limits.LoginFailures, 60_000},
		{"mqtt.sessions.max", m.Sessions.Max, 1_000_000},
		{"mqtt.queue.messages", m.Queue.Messages, 10_000_000},
		{"mqtt.retained.messages", m.Retained.Messages, 10_000_000},
	} {
		if (n.value < 1 || n.value > n.most) && !r.failed[n.path] {
			r.fail(n.path, "%d is not from 1 to %d", n.value, n.most)
		}
	}
	for _, d := range []struct {
		path               string
		value, least, most time.Duration
	}{
		{"mqtt.limits.connect_time", m.Limits.ConnectTime, time.Second, 5 * time.Minute},
		{"mqtt.sessions.expire", m.Sessions.Expire, time.Minute, maxDuration},
	} {
		if (d.value < d.least || d.value > d.most) && !r.failed[d.path] {
			r.fail(d.path, "%s is not from %s to %s", formatDuration(d.value), formatDuration(d.least), formatDuration(d.most))
		}
	}
	for _, size := range []struct {
		path  string
		value Size
	}{{"mqtt.queue.bytes", m.Queue.Bytes}, {"mqtt.retained.bytes", m.Retained.Bytes}} {
		if (size.value < 64<<10 || size.value > 1<<40) && !r.failed[size.path] {
			r.fail(size.path, "%s", fmt.Sprintf("%s is not from 64KiB to 1024GiB", size.value))
		}
	}
}
