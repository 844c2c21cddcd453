package config

import (
	"net"
	"net/url"
	"slices"
	"strings"
)

// mqttPorts are the ports of the schemes; "" where there is no usual one to listen on.
func mqttPort(scheme string, outside bool) string {
	switch {
	case scheme == "mqtt":
		return "1883"
	case scheme == "mqtts":
		return "8883"
	case outside && scheme == "ws":
		return "80"
	case outside && scheme == "wss":
		return "443"
	}
	return ""
}

func (r *report) mqtt(m *MQTT) {
	if r.places.has("mqtt.url") && r.places.has("mqtt.listen") {
		r.fail("mqtt.url", "listen on line %d is given too: listen is for the embedded broker, url for an outside one; keep one",
			r.places.line("mqtt.listen"))
		return
	}
	if r.places.has("mqtt.url") {
		r.outside(m)
	} else {
		r.embedded(m)
	}
	if m.MaxPayload < 1<<10 || m.MaxPayload > 256<<20 {
		r.fail("mqtt.max_payload", "%s is not from 1KiB to 256MiB", m.MaxPayload)
	}
}

func (r *report) outside(m *MQTT) {
	if len(m.Accounts) > 0 {
		r.fail("mqtt.accounts", "is for the embedded broker (listen); an outside broker has its own")
	}
	if m.Anonymous {
		r.fail("mqtt.anonymous", "is for the embedded broker (listen)")
	}
	for _, key := range []string{"client_ca_file", "origins", "limits", "sessions", "queue", "retained"} {
		if r.places.has("mqtt." + key) {
			r.fail("mqtt."+key, "is for the embedded broker (listen)")
		}
	}
	secure := false
	switch u, err := parseURL(m.URL, "mqtt", "mqtts", "ws", "wss"); {
	case r.failed["mqtt.url"]:
		return
	case err != nil:
		r.fail("mqtt.url", "%s", err)
		return
	default:
		secure = u.Scheme == "mqtts" || u.Scheme == "wss"
		m.URL = withPort(u, mqttPort(u.Scheme, true))
	}
	if m.User == "" && r.any("mqtt.password", "mqtt.password_file") {
		r.fail(r.firstOf("mqtt.password", "mqtt.password_file"), "needs a user too")
	}
	r.pair("mqtt", m.CertFile, m.KeyFile)
	for _, key := range []string{"ca_file", "cert_file", "key_file"} {
		if r.places.has("mqtt."+key) && !secure {
			r.fail("mqtt."+key, "needs a url that begins with mqtts:// or wss://")
		}
	}
}

func (r *report) embedded(m *MQTT) {
	for _, key := range []string{"client_id", "user", "password", "password_file", "ca_file"} {
		if r.places.has("mqtt." + key) {
			r.fail("mqtt."+key, "is for an outside broker (url); the embedded one has accounts")
		}
	}
	if len(m.Listen) == 0 && !r.failed["mqtt.listen"] {
		r.fail("mqtt.listen", "is empty; expected URLs such as mqtt://127.0.0.1:1883")
	}
	for i, text := range m.Listen {
		at := item("mqtt.listen", i)
		if r.failed[at] {
			continue
		}
		u, err := listenURL(text, "mqtt", "mqtts", "ws", "wss")
		if err != nil {
			r.fail(at, "%s", err)
			continue
		}
		port := mqttPort(u.Scheme, false)
		if port == "" && u.Port() == "" {
			r.fail(at, "%s needs a port", quote(text))
			continue
		}
		if (strings.Trim(u.Path, "/") != "" && !strings.HasPrefix(u.Scheme, "ws")) || u.RawQuery != "" || u.Fragment != "" {
			r.fail(at, "%s has more than scheme, host and port", quote(text))
			continue
		}
		m.Listen[i] = withPort(u, port)
		if (u.Scheme == "mqtts" || u.Scheme == "wss") && !r.any("mqtt.cert_file", "mqtt.key_file") {
			r.fail(at, "%s needs cert_file and key_file", u.Scheme)
		}
		if !loopback(u.Hostname()) && len(m.Accounts) == 0 && !m.Anonymous && !r.failed["mqtt.accounts"] && !r.failed["mqtt.anonymous"] {
			r.fail(at, "%s can be reached from other machines, by anybody; give accounts, or write anonymous: true if that is meant", quote(text))
		}
	}
	r.pair("mqtt", m.CertFile, m.KeyFile)
	if m.Anonymous && len(m.Accounts) > 0 {
		r.warn("mqtt.anonymous", "has no effect beside accounts: everybody must log in; an account can be anonymous: true")
	}
	if m.ClientCAFile != "" && !r.failed["mqtt.client_ca_file"] && !r.failed["mqtt.listen"] && !slices.ContainsFunc(m.Listen, secureURL) {
		r.fail("mqtt.client_ca_file", "needs a listener with TLS: mqtts or wss")
	}
	if len(m.Origins) > 0 && !r.failed["mqtt.listen"] && !slices.ContainsFunc(m.Listen, func(l string) bool { return strings.HasPrefix(l, "ws") }) {
		r.fail("mqtt.origins", "needs a listener for WebSocket: ws or wss")
	}
	for i, o := range m.Origins {
		if u, err := parseURL(o, "http", "https"); err != nil || u.Scheme+"://"+u.Host != o {
			r.fail(item("mqtt.origins", i), "%s is not where a page comes from: scheme, host and port, such as https://panel.example.org", quote(o))
		}
	}
	r.accounts(m)
	r.brokerLimits(m)
}

func secureURL(text string) bool {
	return strings.HasPrefix(text, "mqtts://") || strings.HasPrefix(text, "wss://")
}

// pair wants a certificate and its key together.
func (r *report) pair(section, cert, key string) {
	certAt, keyAt := section+".cert_file", section+".key_file"
	switch {
	case r.failed[certAt] || r.failed[keyAt]:
	case cert != "" && key == "":
		r.fail(certAt, "needs key_file too")
	case cert == "" && key != "":
		r.fail(keyAt, "needs cert_file too")
	}
}

// withPort writes u with its port, or the one given.
func withPort(u *url.URL, port string) string {
	full := *u
	if full.Port() == "" {
		full.Host = net.JoinHostPort(u.Hostname(), port)
	}
	if full.Path == "/" {
		full.Path = ""
	}
	return full.String()
}
