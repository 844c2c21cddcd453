package discovery

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// check looks whether the books of a Host agree with each other.
func (x *house) check() {
	x.t.Helper()
	h := x.h
	bytes, pending, waiting := 0, 0, map[*group]bool{}
	for _, s := range h.states {
		bytes += len(s)
	}
	groups := map[*group]bool{}
	count := func(p *part, list map[partKey]*part) {
		if list[p.key] != p {
			x.t.Errorf("%v is there twice", p.key)
		}
		if !slices.Contains(p.group.parts, p) {
			x.t.Errorf("%v is not in its group", p.key)
		}
		bytes += p.size
		if p.group.open() {
			pending += p.size
			waiting[p.group] = true
		}
		groups[p.group] = true
	}
	for _, p := range h.parts {
		count(p, h.parts)
	}
	for _, p := range h.held {
		count(p, h.held)
		if p.group.into == nil || p.group.into.growth != p.group {
			x.t.Errorf("%v is held for nobody", p.key)
		}
	}
	for id, g := range h.byID {
		if g.id != id {
			x.t.Errorf("%s is called %s", id, g.id)
		}
		groups[g] = true
	}
	if bytes != h.bytes || pending != h.pending || len(waiting) != h.waiting {
		x.t.Errorf("bytes %d, counted %d; pending %d, counted %d; waiting %d, counted %d", h.bytes, bytes, h.pending, pending, h.waiting, len(waiting))
	}
	for id, g := range h.owner {
		if !slices.Contains(g.owns, id) || !groups[g] {
			x.t.Errorf("%s belongs to a group that does not know it", id)
		}
	}
	for _, list := range h.index.exact {
		for _, s := range list {
			if !groups[s.group] || s.group.stage != Admitted {
				x.t.Errorf("a device that is %q has topics", s.group.stage)
			}
		}
	}
	for topic, list := range h.commands {
		for _, g := range list {
			if g.stage != Admitted || !slices.Contains(g.topics, topic) {
				x.t.Errorf("%s is a command of one that is %q", topic, g.stage)
			}
		}
	}
	for g := range h.untold {
		if !groups[g] || g.stage != Waiting {
			x.t.Errorf("people are to be told of one that is %q", g.stage)
		}
	}
	for i, g := range h.due {
		if g.place != i || !groups[g] {
			x.t.Errorf("what is due at %v is of nobody", g.next)
		}
	}
	kept := 0
	for key := range x.store {
		if strings.HasPrefix(key, "part/") || strings.HasPrefix(key, "held/") {
			kept++
		}
	}
	if kept != len(h.parts)+len(h.held) {
		x.t.Errorf("%d parts are stored, there are %d and %d", kept, len(h.parts), len(h.held))
	}
}

// looks is all that people could see.
func (x *house) looks() string {
	var b strings.Builder
	for _, id := range x.h.Devices() {
		d := x.h.Device(id)
		fmt.Fprintf(&b, "%s %q online %d: %s;", id, d.Is.Name, d.Online, values(d))
		for _, c := range d.Is.Commands {
			fmt.Fprintf(&b, " !%s %s", c.Name, c.Topic)
		}
		b.WriteByte('\n')
	}
	for _, p := range x.h.Proposals() {
		var commands []string
		for _, c := range p.Is.Commands {
			commands = append(commands, c.Topic)
		}
		fmt.Fprintf(&b, "%s %s into %q: %q %v %v %s\n", p.ID, p.Stage, p.Into, p.Name, p.Warnings, commands, p.Version)
	}
	return b.String()
}

// TestAnythingInAnyOrder sends what few devices may say in random orders, with decisions and restarts between. The books
// must agree, and a restart must change nothing.
func TestAnythingInAnyOrder(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			x := newHouse(t, seed%2 == 1, "homeassistant", "homie5", "tasmota")
			var list [][2]string
			for i := range 4 {
				base := fmt.Sprint("b/", i)
				one := lamp(fmt.Sprint("d", i), fmt.Sprint("Device ", i), base)
				list = append(list,
					[2]string{fmt.Sprintf("homeassistant/light/%d/config", i), one},
					[2]string{fmt.Sprintf("homeassistant/light/%d/config", i), strings.Replace(one, base, fmt.Sprint("b/", (i+1)%4), 1)}, // another's topics
					[2]string{fmt.Sprintf("homeassistant/light/%d/config", i), ""},
					[2]string{fmt.Sprintf("homeassistant/sensor/%d/config", i), fmt.Sprintf(`{"name":"T","uniq_id":"t%d","stat_t":"b/%d/t","exp_aft":30,"dev":{"ids":["d%d"]}}`, i, i, i)},
					[2]string{fmt.Sprintf("homeassistant/sensor/%d/config", i), fmt.Sprintf(`{"name":"T","uniq_id":"t%d","stat_t":"b/%d/t","dev":{"ids":["d%d","d%d"]}}`, i, i, i, (i+1)%4)}, // ties two
					[2]string{fmt.Sprintf("homeassistant/switch/%d/config", i), fmt.Sprintf(`{"name":"S","uniq_id":"s%d","cmd_t":"c/%d","dev":{"ids":["d%d"]}}`, i, i%3, i)},
					[2]string{fmt.Sprintf("homeassistant/switch/%d/config", i), ""},
					[2]string{base + "/state", "ON"}, [2]string{base + "/state", "OFF"}, [2]string{base + "/online", "offline"}, [2]string{base + "/t", fmt.Sprint(i)},
					[2]string{fmt.Sprintf("homie/5/d%d/$description", i), `{"homie":"5.0","version":1,"name":"H","nodes":{"n":{"properties":{"p":{"datatype":"integer","settable":true,"retained":true}}}}}`},
					[2]string{fmt.Sprintf("homie/5/d%d/$state", i), "ready"},
				)
			}
			for range 150 {
				switch n := r.IntN(20); {
				case n < 14:
					m := list[r.IntN(len(list))]
					x.message(m[0], m[1], r.IntN(3) == 0)
				case n < 16:
					x.wait(time.Duration(r.IntN(20)) * time.Second)
				case n < 17:
					x.wait(11 * time.Minute)
				case n < 19:
					if all := x.h.Proposals(); len(all) > 0 {
						x.decide(all[r.IntN(len(all))].ID, []Decision{Admit, Admit, Ignore, Block}[r.IntN(4)])
					}
				default:
					if all := slices.Collect(maps.Keys(x.h.byID)); len(all) > 0 && r.IntN(3) == 0 {
						slices.Sort(all)
						if err := x.h.Remove(all[r.IntN(len(all))]); err != nil {
							t.Fatal(err)
						}
						x.took(&News{})
					}
				}
				x.check()
				if t.Failed() {
					return
				}
			}
			x.wait(time.Hour) // nothing is fresh any more
			before := x.looks()
			x.restart()
			x.check()
			if after := x.looks(); after != before {
				t.Errorf("after a restart\n%sbefore\n%s", after, before)
			}
		})
	}
}
