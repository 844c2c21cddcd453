package voip

import (
	"bufio"
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

var update = flag.Bool("update", false, "write what came out into testdata; a person reviews it")

// TestTranscripts plays testdata/*.txt: lines that begin with ">" go in, the indented ones must come out. "+5s" lets time
// pass, and timers run out. "desk" settings on top: most=N, blind.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts: ", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := play(t, string(want))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			} else if got != string(want) {
				t.Errorf("%s plays as\n%s", file, got)
			}
		})
	}
}

// theatre performs a Desk: it keeps the clock and the timers.
type theatre struct {
	desk   *Desk
	now    time.Time
	timers map[Key]map[Timer]time.Time
	out    *strings.Builder
}

const room = ids.RoomID("!hall:example.org")

var self = Party{"@door:example.org", "gate"}

func play(t *testing.T, script string) string {
	th := theatre{desk: NewDesk(DeskConfig{}), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), timers: map[Key]map[Timer]time.Time{}, out: &strings.Builder{}}
	lines := bufio.NewScanner(strings.NewReader(script))
	for lines.Scan() {
		line := lines.Text()
		words := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "  "):
			continue // what came out last time
		case len(words) == 0 || words[0] == "#":
			fmt.Fprintln(th.out, line)
			continue
		}
		fmt.Fprintln(th.out, line)
		switch words[0] {
		case "desk":
			th.desk = NewDesk(deskConfig(t, words[1:]))
		case ">":
			th.step(input(t, words[1:]))
		default:
			d, err := time.ParseDuration(strings.TrimPrefix(words[0], "+"))
			if err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			th.wait(d)
		}
	}
	return th.out.String()
}

func (th *theatre) step(in Input) {
	before := fmt.Sprintf("%+v", th.desk)
	next := th.desk.Clone()
	out := next.Step(th.now, in)
	if after := fmt.Sprintf("%+v", th.desk); after != before {
		panic("a step on a copy changed the original")
	}
	th.desk = next
	if len(out) == 0 {
		fmt.Fprintln(th.out, "  nothing")
	}
	for _, o := range out {
		fmt.Fprintf(th.out, "  %s %s\n", o.Key.Call, describe(o.Effect))
		switch e := o.Effect.(type) {
		case SetTimer:
			if th.timers[o.Key] == nil {
				th.timers[o.Key] = map[Timer]time.Time{}
			}
			th.timers[o.Key][e.Timer] = th.now.Add(e.After)
		case StopTimer:
			delete(th.timers[o.Key], e.Timer)
		}
	}
}

// wait lets timers run out in their order.
func (th *theatre) wait(d time.Duration) {
	until := th.now.Add(d)
	for {
		type due struct {
			key   Key
			timer Timer
			at    time.Time
		}
		var all []due
		for k, timers := range th.timers {
			for timer, at := range timers {
				if !at.After(until) {
					all = append(all, due{k, timer, at})
				}
			}
		}
		if len(all) == 0 {
			th.now = until
			return
		}
		first := slices.MinFunc(all, func(a, b due) int {
			return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.timer, b.timer), cmp.Compare(a.key.Call, b.key.Call))
		})
		delete(th.timers[first.key], first.timer)
		th.now = first.at
		fmt.Fprintf(th.out, "  %s expired %s\n", first.key.Call, first.timer)
		th.step(Local{first.key, Expired{first.timer}})
	}
}

func deskConfig(t *testing.T, words []string) DeskConfig {
	var cfg DeskConfig
	for _, w := range words {
		switch name, value, _ := strings.Cut(w, "="); name {
		case "most":
			if _, err := fmt.Sscan(value, &cfg.Most); err != nil {
				t.Fatal(err)
			}
		case "ring":
			if _, err := fmt.Sscan(value, &cfg.Ring); err != nil {
				t.Fatal(err)
			}
		case "blind":
			cfg.Call.Blind = true
		case "max":
			cfg.Call.Max, _ = time.ParseDuration(value)
		default:
			t.Fatalf("desk %s?", w)
		}
	}
	return cfg
}

// input reads what goes in: "CALL event name=value ...", or a word for the whole desk.
func input(t *testing.T, words []string) Input {
	args := map[string]string{}
	var plain []string
	for _, w := range words {
		if name, value, ok := strings.Cut(w, "="); ok {
			args[name] = value
		} else {
			plain = append(plain, w)
		}
	}
	switch plain[0] {
	case "batch-done":
		return BatchDone{}
	case "end-all":
		return EndAll{Reason(args["reason"])}
	case "left":
		return PersonLeft{room, person(plain[1])}
	}
	key := Key{room, ids.CallID(plain[0])}
	if r := args["room"]; r != "" {
		key.Room = ids.RoomID("!" + r + ":example.org")
	}
	if plain[1] == "dial" {
		return Dial{key, self, person(plain[2])}
	}
	ev, remote := event(t, plain[1], plain[2:], args)
	if remote {
		return Remote{key, self, ev, slices.Contains(plain, "forbidden")}
	}
	return Local{key, ev}
}

func person(name string) ids.UserID { return ids.UserID("@" + name + ":example.org") }

func event(t *testing.T, name string, words []string, args map[string]string) (ev Event, remote bool) {
	var from Party
	if user, party, ok := strings.Cut(args["from"], "/"); ok {
		from = Party{person(user), ids.PartyID(party)}
	}
	version := Version1
	if args["v"] == "0" {
		version, from.ID = Version0, ""
	}
	desc := Description{SDP: args["sdp"]}
	var list []Candidate
	for _, w := range words {
		switch {
		case w == sdpOffer || w == sdpAnswer:
			desc.Type = w
		case w == "end":
			list = append(list, Candidate{})
		case strings.HasPrefix(w, "c"):
			list = append(list, Candidate{Candidate: w})
		}
	}
	reason := Reason(args["reason"])
	switch name {
	case "invited":
		left, err := time.ParseDuration(cmp.Or(args["left"], "60s"))
		if err != nil {
			t.Fatal(err)
		}
		return Invited{From: from, Version: version, Offer: desc, Left: left}, true
	case "answered":
		return Answered{From: from, Version: version, Answer: desc}, true
	case "candidates":
		return Candidates{from, list}, true
	case "selected":
		return Selected{from, ids.PartyID(args["party"])}, true
	case "rejected":
		return Rejected{from, reason}, true
	case "hung-up":
		return HungUp{from, reason}, true
	case "negotiated":
		return Negotiated{From: from, Desc: desc}, true
	case "streams-changed":
		return StreamsChanged{From: from}, true
	case "echoed":
		return Echoed{}, false
	case "leg-offered":
		return LegOffered{Offer: desc}, false
	case "leg-answered":
		return LegAnswered{Answer: desc}, false
	case "leg-accepted":
		return LegAccepted{}, false
	case "leg-candidates":
		return LegCandidates{list}, false
	case "leg-negotiated":
		return LegNegotiated{Desc: desc}, false
	case "leg-connected":
		return LegConnected{}, false
	case "leg-disconnected":
		return LegDisconnected{}, false
	case "leg-hung-up":
		return LegHungUp{reason}, false
	case "ended":
		return Ended{reason}, false
	}
	t.Fatalf("no event %q", name)
	return nil, false
}

// describe says an effect in a line.
func describe(e Effect) string {
	switch e := e.(type) {
	case SendInvite:
		return "send invite lifetime=" + e.Lifetime.String()
	case SendAnswer:
		return "send answer"
	case SendCandidates:
		return "send candidates" + candidateNames(e.List)
	case SendSelect:
		return "send select_answer " + string(e.Party)
	case SendReject:
		return strings.TrimSpace("send reject " + string(e.Reason))
	case SendHangup:
		return "send hangup " + string(e.Reason)
	case SendNegotiate:
		return strings.TrimSpace("send negotiate " + e.Desc.Type + " " + e.Desc.SDP)
	case LegPrepare:
		return "leg prepare"
	case LegInvite:
		if e.Auto {
			return "leg invite auto"
		}
		return "leg invite"
	case LegAnswer:
		return strings.TrimSpace("leg answer " + e.Answer.SDP)
	case LegAdd:
		return "leg add" + candidateNames(e.List)
	case LegNegotiate:
		return strings.TrimSpace("leg negotiate " + e.Desc.Type + " " + e.Desc.SDP)
	case LegStreams:
		return "leg streams"
	case LegOfferStands:
		return "leg offer-stands"
	case LegOfferDropped:
		return "leg offer-dropped"
	case LegClose:
		return "leg close " + string(e.Reason)
	case SetTimer:
		return fmt.Sprintf("timer %s %v", e.Timer, e.After)
	case StopTimer:
		return "timer " + string(e.Timer) + " off"
	case ReportAnswer:
		return "report answer"
	case Report:
		s := e.Summary
		return fmt.Sprintf("report %s %s rang=%v talked=%v", s.Role, s.Reason, s.Rang, s.Talked)
	}
	return fmt.Sprintf("%T?", e)
}

func candidateNames(list []Candidate) string {
	var b strings.Builder
	for _, c := range list {
		b.WriteString(" " + cmp.Or(c.Candidate, "end"))
	}
	return b.String()
}
