package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/gatepost/gatepost/internal/admin"
)

// fakeGateway answers the control socket with fixed lists and remembers what it was asked to do.
type fakeGateway struct {
	done  []string
	state string // of commands
}

var when = time.Date(2026, 11, 22, 16, 0, 0, 0, time.UTC)

func (f *fakeGateway) note(words ...string) { f.done = append(f.done, strings.Join(words, " ")) }

func (f *fakeGateway) Devices(context.Context) ([]deviceInfo, error) {
	return []deviceInfo{
		{ID: "porch", Name: "Porch \x1b[31mred", Rule: "home/{device}", Room: "device/porch", RoomID: "!a:example.org", LastSeen: when},
		{ID: "old", Name: "old", Room: "device/old"},
	}, nil
}

func (f *fakeGateway) Unsupported(context.Context) ([]unsupportedInfo, error) {
	return []unsupportedInfo{{Device: "lamp", Name: "Effect", Reason: "there is no function states"}, {Name: "Gate", Reason: "unheard of"}}, nil
}

func (f *fakeGateway) Unmatched(context.Context) ([]unmatchedInfo, error) {
	return []unmatchedInfo{{Topic: "stat/x", Messages: 3, Bytes: 12, LastSeen: when}}, nil
}

func (f *fakeGateway) Proposals(context.Context) ([]proposalInfo, error) {
	return []proposalInfo{
		{ID: "lamp-1", State: "waiting", Name: "Lamp\x1b[2J", Kind: "lamp", Model: "Acme L1", Conventions: []string{"homeassistant"}, Commands: []string{"on", "reset"}, Dangerous: []string{"reset"}, Since: when},
		{ID: "rogue-1", State: "blocked", Name: "Rogue"},
	}, nil
}

func (f *fakeGateway) Decide(_ context.Context, device, decision string) (string, error) {
	if device != "lamp-1" {
		return "", &admin.Error{Code: admin.NotFound, Text: "no such device waits"}
	}
	f.note(decision, device)
	return "Done.", nil
}

func (f *fakeGateway) RemoveDevice(_ context.Context, id string) error {
	if id != "old" {
		return &admin.Error{Code: admin.Refused, Text: id + " has a rule; remove that first"}
	}
	f.note("remove", id)
	return nil
}

func (f *fakeGateway) Rooms(context.Context) ([]roomInfo, error) { return nil, nil }

func (f *fakeGateway) Commands(_ context.Context, which commandsRequest) ([]commandInfo, error) {
	f.note("commands", which.Device)
	if !which.Since.IsZero() && time.Since(which.Since) < time.Hour {
		return nil, nil
	}
	return []commandInfo{{
		ID: "1", Device: "porch", Name: "set", Args: []string{"5"}, State: "confirmed", At: when, Since: when,
		Changes: []changeInfo{{"received", when}, {"published", when.Add(20 * time.Millisecond)}, {"confirmed", when.Add(time.Second)}},
	}}, nil
}

func (f *fakeGateway) Alarms(context.Context) ([]alarmInfo, error) {
	return []alarmInfo{{Device: "furnace", Name: "Furnace", Text: "hot: 61", Since: when}}, nil
}

func (f *fakeGateway) Outbox(context.Context) ([]laneInfo, error) {
	return []laneInfo{{Lane: "device/porch", Records: 4, Bytes: 2048, Classes: map[string]int{"telemetry": 3, "alarm": 1}, Oldest: when, Wait: "the homeserver does not answer"}}, nil
}

func (f *fakeGateway) DeadLetters(context.Context) ([]deadLetterInfo, error) {
	return []deadLetterInfo{{Number: 7, Lane: "device/porch", Kind: "text", Reason: "M_FORBIDDEN: not in the room", DeadAt: when}}, nil
}

func (f *fakeGateway) DeadLetter(_ context.Context, n uint64) (deadLetterInfo, error) {
	if n != 7 {
		return deadLetterInfo{}, &admin.Error{Code: admin.NotFound, Text: "there is no such dead letter"}
	}
	return deadLetterInfo{Number: 7, Reason: "M_FORBIDDEN", Text: "hello\nworld", Values: map[string]string{"t": "1"}, At: when, DeadAt: when}, nil
}

func (f *fakeGateway) RetryDeadLetters(_ context.Context, which letters) (int, error) {
	f.note("retry", jsonOf(which))
	return len(which.Numbers), nil
}

func (f *fakeGateway) DropDeadLetters(_ context.Context, which letters) (int, error) {
	f.note("drop", jsonOf(which))
	return 9, nil
}

func (f *fakeGateway) Send(_ context.Context, device, text string) error {
	f.note("send", device, text)
	return nil
}

func (f *fakeGateway) RunCommand(_ context.Context, device, name string, args []string) (commandInfo, error) {
	f.note(append([]string{"run", device, name}, args...)...)
	return commandInfo{Device: device, Name: name, State: f.state, Reason: map[string]string{"refused": "the room is public"}[f.state]}, nil
}

func (f *fakeGateway) Backup(_ context.Context, w io.Writer) error {
	if f.state == "broken" {
		if _, err := w.Write([]byte("half")); err != nil {
			return err
		}
		return errors.New("Input/output error")
	}
	_, err := w.Write([]byte("whole"))
	return err
}

func (f *fakeGateway) BrokerClients(context.Context) ([]brokerClientInfo, error) {
	return []brokerClientInfo{
		{Client: "lamp\x1b[2J", Account: "house", Connected: true, Since: when, Address: "192.0.2.7:4711", Protocol: "5", Transport: "mqtts", Subscriptions: 2},
		{Client: "door", Protocol: "3.1.1", Waiting: 12},
	}, nil
}

func (f *fakeGateway) BrokerRetained(_ context.Context, r retainedRequest) (retainedReply, error) {
	if r.Filter == "none" {
		return retainedReply{Messages: []retainedInfo{}}, nil
	}
	return retainedReply{Messages: []retainedInfo{{Topic: "a/b", QoS: 1, Bytes: 2, Text: "on"}, {Topic: "a/c", Bytes: 9}}, Total: 7}, nil
}

func (f *fakeGateway) DropRetained(_ context.Context, r retainedRequest) (int, error) {
	f.note("drop retained", r.Filter)
	return 7, nil
}

func (f *fakeGateway) BrokerKick(_ context.Context, r kickRequest) error {
	if r.Client == "nobody" {
		return noClient("nobody")
	}
	f.note("kick", jsonOf(r))
	return nil
}

func (f *fakeGateway) TurnAllocations(context.Context) ([]turnAllocationInfo, error) {
	if f.state == "idle" {
		return nil, nil
	}
	return []turnAllocationInfo{{
		ID: "17", User: "@a:example.org\x1b[2J", Client: "192.0.2.7:4711", Transport: "udp", Relayed: []string{"203.0.113.7:50000", "[2001:db8::7]:50001"},
		Since: when, Permissions: 2, ToPeer: turnTraffic{Packets: 3, Bytes: 4096},
	}}, nil
}

func (f *fakeGateway) TurnKick(_ context.Context, r turnKickRequest) (int, error) {
	if len(r.IDs) > 0 && r.IDs[0] == "9" {
		return 0, noAllocation
	}
	f.note("end", jsonOf(r))
	return 2, nil
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// serve runs f behind a control socket until the test ends and gives its path.
func serve(t *testing.T, f *fakeGateway) string {
	t.Helper()
	return serveVerbs(t, func(s *admin.Server) {
		serveControl(s, f)
		serveBrokerControl(s, f)
		serveTurnControl(s, f)
	})
}

// serveVerbs runs a control socket with the verbs that register adds.
func serveVerbs(t *testing.T, register func(*admin.Server)) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "gp") // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "g.sock")
	s, err := admin.New(admin.Config{Socket: path})
	if err != nil {
		t.Fatal(err)
	}
	register(s)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-ended, os.RemoveAll(dir)); err != nil {
			t.Error(err)
		}
		goleak.VerifyNone(t)
	})
	return path
}

func TestCommandLineAgainstARunningGateway(t *testing.T) {
	f := &fakeGateway{state: "published"}
	socket := serve(t, f)
	for _, c := range []struct {
		args  string
		stdin string
		state string
		code  int
		out   []string // parts of the output
		err   string
		done  string // what the gateway was asked to do
	}{
		{args: "devices", out: []string{"DEVICE  NAME", "porch   Porch \uFFFD[31mred  home/{device}", "old", "(none)", "(being made)"}},
		{args: "devices", out: []string{"1 new device waiting for a decision", "lamp-1  Lamp\uFFFD[2J  waiting  lamp  Acme L1  homeassistant  2 (1 dangerous)"}},
		{args: "devices list --waiting", out: []string{"lamp-1", "rogue-1  Rogue", "blocked"}},
		{args: "devices list --waiting --json", out: []string{`"dangerous": [`, `"state": "blocked"`}},
		{args: "devices admit lamp-1", out: []string{"Done."}, done: "admit lamp-1"},
		{args: "devices ignore lamp-1", out: []string{"Done."}, done: "ignore lamp-1"},
		{args: "devices block lamp-1", out: []string{"Done."}, done: "block lamp-1"},
		{args: "devices admit nobody", code: 1, err: "no such device waits"},
		{args: "devices list --json", out: []string{`"last_seen": "2026-11-22T16:00:00Z"`, `"Porch \u001b[31mred"`}},
		{args: "devices list --unsupported", out: []string{"DEVICE", "lamp         Effect  there is no function states", "(no device)  Gate    unheard of"}},
		{args: "devices list --unmatched", out: []string{"TOPIC", "stat/x  3         12"}},
		{args: "devices remove old", out: []string{"old is forgotten."}, done: "remove old"},
		{args: "devices remove porch", code: 1, err: "porch has a rule; remove that first"},
		{args: "rooms", out: []string{"No room yet."}},
		{args: "rooms --json", out: []string{"[]"}},
		{args: "commands", out: []string{"set 5", "(command line)", "confirmed", "received, published +20ms, confirmed +980ms"}, done: "commands "},
		{args: "commands --device porch --json", out: []string{`"state": "published"`, `"at": "2026-11-22T16:00:01Z"`}, done: "commands porch"},
		{args: "commands --since 10m", out: []string{"No command yet."}, done: "commands "},
		{args: "commands --since=-1h", code: 2, err: "--since is a time from now back"},
		{args: "alarms", out: []string{"SINCE", "furnace  Furnace  hot: 61"}},
		{args: "alarms --json", out: []string{`"text": "hot: 61"`}},
		{args: "outbox", out: []string{"device/porch  4         2.0 KiB", "1 alarm, 3 telemetry", "the homeserver does not answer"}},
		{args: "deadletters", out: []string{"7", "M_FORBIDDEN: not in the room"}},
		{args: "deadletters list", out: []string{"7"}},
		{args: "deadletters show 7", out: []string{"text         hello world", "value t      1", "given up     2026-11-22T16:00:00Z"}},
		{args: "deadletters show 7 --json", out: []string{`"text": "hello\nworld"`}},
		{args: "deadletters show 8", code: 1, err: "there is no such dead letter"},
		{args: "deadletters retry 7 9", out: []string{"2 back in the outbox."}, done: `retry {"numbers":[7,9]}`},
		{args: "deadletters drop --all", out: []string{"9 deleted."}, done: `drop {"all":true}`},
		{args: "send --device porch hello", out: []string{"In the outbox."}, done: "send porch hello"},
		{args: "send --device porch -", stdin: "from a pipe\n", done: "send porch from a pipe\n"},
		{args: "send --device porch -", stdin: strings.Repeat("x", maxSend+1), code: 2, err: "larger than"},
		{args: "send --device porch --command !set 5", state: "published", out: []string{"set: published"}, done: "run porch set 5"},
		{args: "send --device heater --command set -- -5", state: "confirmed", out: []string{"set: confirmed"}, done: "run heater set -5"},
		{args: "send --device porch --command unlock", state: "refused", code: 1, err: "unlock: refused: the room is public", done: "run porch unlock"},
		{args: "send --device porch --command unlock --json", state: "unknown", code: 1, out: []string{`"state": "unknown"`}, err: "unlock: unknown", done: "run porch unlock"},
		{args: "broker clients", out: []string{"lamp\uFFFD[2J  house    connected", "192.0.2.7:4711", "door      -        away       -"}},
		{args: "broker clients --json", out: []string{`"transport": "mqtts"`, `"waiting": 12`}},
		{args: "broker retained", out: []string{"a/b    1    2      on", "a/c    0    9      (not text)", "... and 5 more; give a filter."}},
		{args: "broker retained none", out: []string{"No retained message."}},
		{args: "broker retained none --json", out: []string{`"messages": []`}},
		{args: "broker retained a/# --delete", out: []string{"7 deleted."}, done: "drop retained a/#"},
		{args: "broker retained --delete", code: 2, err: "say which to delete"},
		{args: "broker kick lamp", out: []string{"lamp is disconnected."}, done: `kick {"client":"lamp"}`},
		{args: "broker kick lamp --account= --forget", out: []string{"lamp is disconnected and forgotten."}, done: `kick {"client":"lamp","account":"","forget":true}`},
		{args: "broker kick nobody", code: 1, err: `there is no client "nobody"`},
		{args: "turn allocations", out: []string{"17  @a:example.org\uFFFD[2J  192.0.2.7:4711  udp   203.0.113.7:50000 [2001:db8::7]:50001", "4.0 KiB"}},
		{args: "turn allocations --json", out: []string{`"to_peer": {`, `"packets": 3`, `"transport": "udp"`}},
		{args: "turn allocations", state: "idle", out: []string{"No allocation."}},
		{args: "turn allocations --json", state: "idle", out: []string{"[]"}},
		{args: "turn kick 17 18", out: []string{"2 ended."}, done: `end {"ids":["17","18"]}`},
		{args: "turn kick --user @a:example.org", out: []string{"2 ended."}, done: `end {"user":"@a:example.org"}`},
		{args: "turn kick 9", code: 1, err: "there is no such allocation"},
		{args: "turn kick", code: 2, err: "say which: ids, or --user"},
		{args: "turn kick 1 --user a", code: 2, err: "say which: ids, or --user"},
		{args: "backup -", out: []string{"whole"}},
		{args: "backup -", state: "broken", code: 1, err: "Input/output error"},
	} {
		t.Run(c.args, func(t *testing.T) {
			f.done, f.state = nil, c.state
			var out, errOut bytes.Buffer
			words := append(strings.Fields(c.args)[:1:1], append([]string{"--socket", socket}, strings.Fields(c.args)[1:]...)...)
			if code := run(words, nil, strings.NewReader(c.stdin), &out, &errOut); code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, errOut.String())
			}
			for _, part := range c.out {
				if !strings.Contains(out.String(), part) {
					t.Errorf("no %q in:\n%s", part, out.String())
				}
			}
			if c.err == "" && errOut.Len() > 0 || !strings.Contains(errOut.String(), c.err) {
				t.Errorf("complaint %q, want %q", errOut.String(), c.err)
			}
			if got := strings.Join(f.done, "; "); got != c.done {
				t.Errorf("the gateway did %q, want %q", got, c.done)
			}
		})
	}
}

func TestControlRefusesWhatItDoesNotKnow(t *testing.T) {
	client := admin.NewClient(serve(t, &fakeGateway{}))
	var e *admin.Error
	err := client.Call(t.Context(), verbSend, map[string]any{"device": "porch", "txt": "x"}, nil)
	if !errors.As(err, &e) || e.Code != admin.BadRequest || !strings.Contains(e.Text, `"txt"`) {
		t.Errorf("unknown key: %v", err)
	}
	if err = client.Call(t.Context(), verbDeadLetter, map[string]any{"number": "seven"}, nil); !errors.As(err, &e) || e.Code != admin.BadRequest {
		t.Errorf("wrong type: %v", err)
	}
}

func TestBackupThatBreaksLeavesNoFile(t *testing.T) {
	socket := serve(t, &fakeGateway{state: "broken"})
	file := filepath.Join(t.TempDir(), "x.tar")
	var errOut bytes.Buffer
	if code := run([]string{"backup", "--socket", socket, file}, nil, nil, io.Discard, &errOut); code != exitFailed {
		t.Errorf("exit code %d: %s", code, errOut.String())
	}
	left, err := filepath.Glob(file + "*")
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}
