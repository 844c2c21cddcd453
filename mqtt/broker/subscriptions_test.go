package broker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/gatepost/gatepost/mqtt/topic"
)

func everybody(*session) bool { return true }

// on makes s look connected.
func on(s *session) *session {
	s.conn.Store(&conn{})
	return s
}

func TestParseSubscription(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		in, group, plain string
		ok               bool
	}{
		{"a/+/#", "", "a/+/#", true},
		{"$share/g/a/#", "g", "a/#", true},
		{"$share/g//a", "g", "/a", true},
		{"$SHARE/g/a", "", "$SHARE/g/a", true}, // the prefix is exact
		{"$share", "", "", false},
		{"$share/g", "", "", false},
		{"$share//a", "", "", false},
		{"$share/+/a", "", "", false},
		{"$share/g/", "", "", false},
		{"a+", "", "", false},
		{"a/#/b", "", "", false},
		{strings.Repeat("a/", maxLevels-1) + "a", "", strings.Repeat("a/", maxLevels-1) + "a", true},
		{strings.Repeat("a/", maxLevels) + "a", "", "", false},
	} {
		group, plain, ok := parseSubscription(tc.in)
		if group != tc.group || plain != tc.plain || ok != tc.ok {
			t.Errorf("%.40q: %q, %.40q, %v", tc.in, group, plain, ok)
		}
	}
}

func TestMatchMerges(t *testing.T) {
	t.Parallel()
	var x subscriptions
	s, other := newSession("\x00s", 0), newSession("\x00o", 0)
	add := func(s *session, filter string, qos byte, id int, change func(*subscription)) {
		group, plain, ok := parseSubscription(filter)
		if !ok {
			t.Fatal(filter)
		}
		sub := &subscription{session: s, filter: filter, group: group, plain: plain, qos: qos, id: id}
		if change != nil {
			change(sub)
		}
		x.add(sub)
	}
	add(s, "a/#", 0, 3, nil)
	add(s, "a/+", 2, 1, func(sub *subscription) { sub.asPublished = true })
	add(s, "a/b", 1, 0, nil)
	add(s, "a/b/#", 1, 3, nil)
	add(other, "a/b", 1, 0, func(sub *subscription) { sub.noLocal = true })
	found, _ := x.match("a/b", 1, nil, everybody)
	slices.SortFunc(found, func(a, b target) int { return strings.Compare(b.session.id, a.session.id) })
	if len(found) != 2 || found[0].session != s || found[0].qos != 1 || !found[0].retain || fmt.Sprint(found[0].ids) != "[1 3]" {
		t.Errorf("found %+v", found)
	}
	if found, _ := x.match("a/b", 1, other, everybody); len(found) != 1 || found[0].session != s {
		t.Errorf("its own message came back: %+v", found)
	}
	if found, _ := x.match("a/b", 1, nil, func(who *session) bool { return who == other }); len(found) != 1 || found[0].session != other {
		t.Errorf("without rights: %+v", found)
	}
}

// Shared subscriptions: one member gets it, in turn; those who are away only if nobody is there, and only if they have a
// queue that lasts.
func TestMatchShared(t *testing.T) {
	t.Parallel()
	var x subscriptions
	a, b, away, short := on(newSession("\x00a", 1)), on(newSession("\x00b", 0)), newSession("\x00away", 3), newSession("\x00short", 0)
	subs := map[*session]*subscription{}
	for _, s := range []*session{a, b, away, short} {
		subs[s] = &subscription{session: s, filter: "$share/g/x/#", group: "g", plain: "x/#", qos: 1}
		x.add(subs[s])
	}
	x.add(&subscription{session: b, filter: "$share/h/x/y", group: "h", plain: "x/y", qos: 1})
	got := map[*session]int{}
	for range 100 {
		found, _ := x.match("x/y", 1, nil, everybody)
		if len(found) != 1 && len(found) != 2 {
			t.Fatalf("found %+v", found)
		}
		for _, f := range found {
			got[f.session]++
		}
	}
	if got[a] < 20 || got[b] != 100 || got[away]+got[short] > 0 {
		t.Errorf("divided as a %d, b %d, away %d, short %d", got[a], got[b], got[away], got[short])
	}
	x.remove(subs[a])
	x.remove(subs[b])
	if found, _ := x.match("x/z", 1, nil, everybody); len(found) != 1 || found[0].session != away {
		t.Errorf("with everybody away: %+v", found)
	}
	if n, shared := x.counts(); n != 3 || shared != 3 {
		t.Errorf("%d subscriptions, %d shared", n, shared)
	}
}

// The tree finds what the filters themselves say, whatever was added, replaced and removed, and keeps nothing of what is gone.
func TestSubscriptionsModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		level := rapid.SampledFrom([]string{"a", "b", "", "$x", "+", "#"})
		name := func(levels []string) string { return strings.Join(levels, "/") }
		sessions := []*session{newSession("\x001", 1), newSession("\x002", 2), newSession("\x003", 3)}
		var x subscriptions
		model := map[string]*subscription{}
		for range rapid.IntRange(0, 30).Draw(t, "steps") {
			filter := name(rapid.SliceOfN(level, 1, 4).Draw(t, "filter"))
			if _, _, ok := parseSubscription(filter); !ok {
				continue
			}
			s := rapid.SampledFrom(sessions).Draw(t, "session")
			key := s.id + " " + filter
			if old := model[key]; old != nil && rapid.Bool().Draw(t, "remove") {
				x.remove(old)
				x.remove(old) // twice is once
				delete(model, key)
				continue
			}
			sub := &subscription{session: s, filter: filter, plain: filter, qos: 1}
			if before := x.add(sub); before != model[key] {
				t.Fatalf("%s took the place of %+v, want %+v", key, before, model[key])
			}
			model[key] = sub
		}
		for range 10 {
			topicName := name(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "", "$x"}), 1, 4).Draw(t, "topic"))
			if topicName == "" {
				continue
			}
			want := map[*session]bool{}
			for _, sub := range model {
				f, err := topic.ParseFilter(sub.plain)
				if err != nil {
					t.Fatal(err)
				}
				if f.Match(topicName) {
					want[sub.session] = true
				}
			}
			found, _ := x.match(topicName, 1, nil, everybody)
			got := map[*session]bool{}
			for _, f := range found {
				if got[f.session] {
					t.Fatalf("%q: %s is there twice", topicName, f.session.id)
				}
				got[f.session] = true
			}
			if !maps.Equal(got, want) {
				t.Fatalf("%q: found %v, want %v of %v", topicName, got, want, slices.Collect(maps.Keys(model)))
			}
		}
		for _, sub := range model {
			x.remove(sub)
		}
		if n, _ := x.counts(); n != 0 || !x.root.empty() {
			t.Fatalf("%d are left, %d levels", n, len(x.root.below))
		}
	})
}
