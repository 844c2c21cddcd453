//go:build interop

package turn

import (
	"context"
	"fmt"
	"net"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/turn/relay"
)

// coturn's own client sends through the relay to a peer that echoes, or between two clients of its own, and gets all of it
// back: over every transport, with channels and with indications, with even ports and reservations for RTCP.
func TestCoturnsClient(t *testing.T) {
	program := relay.Find("turnutils_uclient")
	if program == "" {
		absent(t, "turnutils_uclient (the package coturn)")
	}
	s := serveWith(t, chosen, func(o *relay.Options) {
		both(o)
		o.Peers = []string{"127.0.0.0/8", "::1/128"}
		o.First = 61000 // nobody else on this machine takes the port that is set aside for RTCP
		o.Cert, o.Key = certificate(t)
		o.Extra = "  limits: {allocations_per_user: 12}\n" // three clients with RTCP, and as many to talk to
	})
	echo4, echo6 := echo(t, "127.0.0.1"), ""
	if s.udp6 != "" {
		echo6 = echo(t, "::1")
	}
	// What the client sends: in each session 30 messages, and where there is RTCP some more on the second session.
	const messages, clients = 30, 3
	for i, test := range []struct {
		name  string
		flags string
		at    string // the relay's listener
		echo  string // "" between clients of the relay
	}{
		{"udp, channels", "", s.udp, echo4},
		{"udp, indications", "-s", s.udp, echo4},
		{"udp, no rtcp", "-c", s.udp, echo4},
		{"udp, don't fragment", "-g", s.udp, echo4},
		{"udp, padded channels", "-D", s.udp, echo4},
		{"udp, more requests than needed", "-G", s.udp, echo4},
		{"udp, 1200 bytes", "-l 1200", s.udp, echo4},
		{"udp, between clients, channels", "-y", s.udp, ""},
		{"udp, between clients, indications", "-y -s", s.udp, ""},
		{"tcp, channels", "-t", s.tcp, echo4},
		{"tcp, indications", "-t -s", s.tcp, echo4},
		{"tcp, between clients", "-t -y", s.tcp, ""},
		{"tls, channels", "-t -S", s.tls, echo4},
		{"tls, indications", "-t -S -s", s.tls, echo4},
		{"tls, between clients", "-t -S -y", s.tls, ""},
		{"ipv6 relay for an ipv4 client", "-x", s.udp, echo6},
		{"ipv6, channels", "-x", s.udp6, echo6},
		{"ipv6, indications", "-x -s", s.udp6, echo6},
		{"ipv6, between clients", "-x -y", s.udp6, ""},
		{"ipv6, tcp", "-x -t", s.udp6, echo6},
		{"ipv4 relay for an ipv6 client", "-X", s.udp6, echo4},
	} {
		t.Run(test.name, func(t *testing.T) {
			interval, at, part := "5", strconv.Itoa(clients), 1.0 // milliseconds between messages; clients; what must come back of them
			if strings.Contains(test.flags, "-S") {
				// This client takes a TLS record for one message, and what was written together comes in one. So it is left
				// alone with the machine; that TLS loses nothing is seen in TestStreamsLoseNothing.
				interval, at, part = "50", "1", 0.75
			} else {
				t.Parallel()
			}
			if test.at == "" || test.echo == "" && !strings.Contains(test.flags, "-y") {
				absent(t, "IPv6 on the loopback interface")
			}
			host, port, err := net.SplitHostPort(test.at)
			must(t, err)
			args := append(strings.Fields(test.flags), "-n", strconv.Itoa(messages), "-m", at, "-z", interval, "-u", fmt.Sprintf("@user%d:turn.example", i), "-W", secret, "-p", port)
			if test.echo != "" {
				far, port, err := net.SplitHostPort(test.echo)
				must(t, err)
				args = append(args, "-e", far, "-r", port)
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, program, append(args, host)...).CombinedOutput()
			sent, received, ok := tally(string(out))
			if err != nil || !ok || sent < messages || float64(received) < part*float64(sent) || received > sent {
				t.Errorf("%d sent, %d received, %v\nturnutils_uclient %s\n%s", sent, received, err, strings.Join(args, " "), out)
			}
		})
	}
}

// tally reads what the client says at its end.
func tally(out string) (sent, received int, ok bool) {
	all := regexp.MustCompile(`start_mclient: tot_send_msgs=(\d+), tot_recv_msgs=(\d+)`).FindAllStringSubmatch(out, -1)
	if len(all) == 0 {
		return 0, 0, false
	}
	last := all[len(all)-1]
	sent, err := strconv.Atoi(last[1])
	received, err2 := strconv.Atoi(last[2])
	return sent, received, err == nil && err2 == nil
}
