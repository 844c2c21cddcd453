package harness

import (
	"cmp"
	"fmt"
	"strings"
)

// Settings are the parts of gatepost's configuration that tests vary.
type Settings struct {
	Homeserver   string // URL
	ServerName   string
	Listen       string   // host:port of the appservice listener; "": account mode
	PasswordFile string   // account mode: the bot's password
	Registration string   // appservice mode: the file
	Owners       []string // user ids
	Members      []string // user ids, with the default power
	Sites        []string // more of matrix.members, each a YAML flow mapping
	Encryption   string   // "": off
	MQTT         string   // host:port of the embedded broker
	WebSocket    string   // host:port of a second listener of it; "": none
	Origins      []string // of pages that may connect to that
	Broker       string   // URL of an outside broker, instead of MQTT
	Admin        string   // host:port
	Devices      string   // the device rules, each a YAML list item at column 0
	Extra        string   // more top-level keys
}

// YAML is the configuration file.
func (s Settings) YAML() string {
	var b strings.Builder
	fmt.Fprintf(&b, "matrix:\n  homeserver: %s\n  server_name: %s\n  user: gatepost\n", s.Homeserver, s.ServerName)
	if s.Listen != "" {
		fmt.Fprintf(&b, "  mode: appservice\n  registration: %s\n  listen: %s\n", s.Registration, s.Listen)
	} else {
		fmt.Fprintf(&b, "  mode: account\n  password_file: %s\n", s.PasswordFile)
	}
	if len(s.Owners) > 0 {
		fmt.Fprintf(&b, "  owners: %s\n", quoted(s.Owners))
	}
	if len(s.Members)+len(s.Sites) > 0 {
		b.WriteString("  members:\n")
		for _, m := range s.Members {
			fmt.Fprintf(&b, "    - {user: %q}\n", m)
		}
		for _, m := range s.Sites {
			fmt.Fprintf(&b, "    - %s\n", m)
		}
	}
	fmt.Fprintf(&b, "  encryption: %q\n", cmp.Or(s.Encryption, "off"))
	if s.Broker != "" {
		fmt.Fprintf(&b, "mqtt: {url: %q}\n", s.Broker)
	} else {
		listen := []string{"mqtt://" + s.MQTT}
		if s.WebSocket != "" {
			listen = append(listen, "ws://"+s.WebSocket)
		}
		fmt.Fprintf(&b, "mqtt: {listen: %s", quoted(listen))
		if len(s.Origins) > 0 {
			fmt.Fprintf(&b, ", origins: %s", quoted(s.Origins))
		}
		b.WriteString("}\n")
	}
	if s.Devices != "" {
		b.WriteString("devices:\n")
		for line := range strings.Lines(strings.TrimLeft(s.Devices, "\n")) {
			b.WriteString("  " + line)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "store: {path: data}\nadmin: {listen: %q, socket: data/gatepost.sock}\n", s.Admin)
	return b.String() + s.Extra
}

func quoted(list []string) string {
	q := make([]string, len(list))
	for i, v := range list {
		q[i] = fmt.Sprintf("%q", v)
	}
	return "[" + strings.Join(q, ", ") + "]"
}
