package relay

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
)

// Options are the same for all servers.
type Options struct {
	Dir     string       // folder of configuration and log; made when missing
	Listen  []string     // URLs: udp://127.0.0.1:3478, tcp://..., tls://[::1]:5349; one port for udp and tcp, one for tls
	Relay   []netip.Addr // addresses of the relay ports, at most one IPv4 and one IPv6
	First   uint16       // relay ports; 0 stands for 49152
	Last    uint16       // 0 stands for 65535
	Realm   string
	Secret  string
	Peers   []string // CIDRs that are refused by default and are opened
	Cert    string   // PEM files, for tls
	Key     string
	Threads int    // of coturn; 0 is its default, one for each core
	Netns   string // network namespace to run in; "" is ours
	Extra   string // lines of gatepost's turn section, with two spaces of indentation
	Cores   string // the only cores to run on, as taskset writes them; "" for all
}

func (o Options) ports() (first, last uint16) {
	first, last = o.First, o.Last
	if first == 0 {
		first = 49152
	}
	if last == 0 {
		last = 65535
	}
	return first, last
}

// write puts a file into the folder.
func (o Options) write(name, text string) (string, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(o.Dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// socket is gatepost's control socket.
func (o Options) socket() string { return filepath.Join(o.Dir, "gatepost.sock") }

// endpoint is where a listener is.
type endpoint struct {
	network string // udp, tcp or tls
	at      netip.AddrPort
}

func (o Options) endpoints() ([]endpoint, error) {
	var all []endpoint
	for _, url := range o.Listen {
		network, rest, _ := strings.Cut(url, "://")
		at, err := netip.ParseAddrPort(rest)
		if err != nil {
			return nil, fmt.Errorf("relay: listen %q: %w", url, err)
		}
		all = append(all, endpoint{network, at})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("relay: nothing to listen on")
	}
	return all, nil
}

// yaml is gatepost's configuration with these options.
func (o Options) yaml(secretFile string) string {
	first, last := o.ports()
	var b strings.Builder
	fmt.Fprintf(&b, "turn:\n  listen: [%s]\n  realm: %q\n  secret_file: %q\n  relay_ports: %d-%d\n",
		quoted(o.Listen), o.Realm, secretFile, first, last)
	var public []string
	for _, a := range o.Relay {
		public = append(public, a.String())
	}
	fmt.Fprintf(&b, "  public_ip: [%s]\n", quoted(public))
	if len(o.Peers) > 0 {
		fmt.Fprintf(&b, "  allow_peers: [%s]\n", quoted(o.Peers))
	}
	if o.Cert != "" {
		fmt.Fprintf(&b, "  cert_file: %q\n  key_file: %q\n", o.Cert, o.Key)
	}
	b.WriteString(o.Extra)
	fmt.Fprintf(&b, "store: {path: %q}\nadmin: {listen: \"\", socket: %q}\n", filepath.Join(o.Dir, "data"), o.socket())
	return b.String()
}

func quoted(words []string) string {
	var all []string
	for _, w := range words {
		all = append(all, fmt.Sprintf("%q", w))
	}
	return strings.Join(all, ", ")
}
