//go:build e2e

package turn

import (
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gatepost/gatepost/test/turn/relay"
	"github.com/gatepost/gatepost/test/turn/wire"
)

// command runs a subcommand with the relay's configuration.
func (s *site) command(args ...string) string {
	s.t.Helper()
	out, err := exec.CommandContext(s.ctx, program(s.t), append(args, "--config", s.Config)...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("gatepost %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// A credential that the command line prints opens an allocation; the command line sees it and ends it; the log has one line of
// it, and no secret.
func TestCommandLine(t *testing.T) {
	s := serve(t, opened)
	var cred struct{ Username, Password string }
	must(t, json.Unmarshal([]byte(s.command("turn", "credentials", "--user", "@alice:turn.example", "--json")), &cred))
	c, err := wire.Dial("udp", s.udp, nil, wire.Credential{Username: cred.Username, Password: cred.Password})
	must(t, err)
	defer c.Close()
	_, err = c.Allocate(0)
	must(t, err)
	far, at := peer(t, "127.0.0.1")
	_, err = c.Bind(0x4000, at)
	must(t, err)
	must(t, c.SendOn(0x4000, []byte("hello")))
	if got := hears(t, far, patience); got != "hello" {
		t.Fatalf("the peer hears %q", got)
	}
	if list := s.command("turn", "allocations"); !strings.Contains(list, "@alice:turn.example") || !strings.Contains(list, c.Relay.String()) {
		t.Errorf("alice at %v is not in:\n%s", c.Relay, list)
	}
	s.command("turn", "kick", "--user", "@alice:turn.example")
	if m, err := c.Renew(600); !errors.Is(err, wire.ErrRefused) || m.Code() != 437 {
		t.Errorf("after the kick: %d, %v", m.Code(), err)
	}
	var lines []string
	until(t, "the allocation's line in the log", func() bool {
		lines = nil
		for line := range strings.Lines(s.Log()) {
			if strings.Contains(line, "@alice:turn.example") {
				lines = append(lines, line)
			}
		}
		return len(lines) > 0
	})
	if len(lines) != 1 || !strings.Contains(lines[0], "reason=kicked") || !strings.Contains(lines[0], "to_peer_bytes=5") {
		t.Errorf("the log says of alice: %q", lines)
	}
	for _, word := range []string{secret, cred.Password} {
		if strings.Contains(s.Log(), word) {
			t.Errorf("the log has a secret: %q", word)
		}
	}
}

// Asked to stop, the relay takes no new allocations, and goes on with those it has for as long as it is told to, or until the
// last of them ends.
func TestDrain(t *testing.T) {
	s := serve(t, func(o *relay.Options) {
		opened(o)
		o.Extra = "  drain: 1m\n"
	})
	alice := s.allocated("@alice:turn.example", "")
	far, at := peer(t, "127.0.0.1")
	_, err := alice.Bind(0x4000, at)
	must(t, err)
	must(t, s.Signal(syscall.SIGTERM))
	until(t, "new allocations to be refused", func() bool {
		late := s.dial("@late:turn.example", "")
		m, err := late.Allocate(0)
		if err == nil {
			_, err = late.Renew(0) // it was not asked to stop yet
			must(t, err)
			return false
		}
		return errors.Is(err, wire.ErrRefused) && m.Code() == 508
	})
	must(t, alice.SendOn(0x4000, []byte("still here")))
	if got := hears(t, far, patience); got != "still here" {
		t.Errorf("the peer hears %q", got)
	}
	if _, err := alice.Renew(600); err != nil {
		t.Errorf("refresh while it drains: %v", err)
	}
	if !s.Running() {
		t.Fatal("it ended with a live allocation")
	}
	began := time.Now()
	if _, err := alice.Renew(0); err != nil {
		t.Error(err)
	}
	until(t, "its end after the last allocation", func() bool { return !s.Running() })
	t.Logf("ended %v after the last allocation", time.Since(began).Round(time.Millisecond))
}
