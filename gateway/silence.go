package gateway

import (
	"container/heap"
	"fmt"
	"slices"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

// watched is a device of which a rule expects to hear now and then (RuleSpec.Silence).
type watched struct {
	id    ids.DeviceID
	rule  string    // its topic
	heard time.Time // the latest message, or when we began to listen
	due   time.Time // when it is looked at next; heard may have come later meanwhile
	place int       // in silences.due; -1 not there
}

// silences watches for devices of which nothing comes. The router goroutine owns it. Nothing of it is stored: time in which
// nobody listened is no silence, so after a start it begins anew, and so it does when the link to an outside broker was lost.
type silences struct {
	by  map[watchKey]*watched
	due silenceHeap
}

type watchKey struct {
	id   ids.DeviceID
	rule string
}

func newSilences() *silences { return &silences{by: map[watchKey]*watched{}} }

// heardOf notes that something came of d by a rule. An alarm because nothing did is over.
func (g *Gateway) heardOf(b *batch, d *Device, s subject, now time.Time) {
	after := s.rule.spec.Silence
	if after <= 0 {
		return
	}
	name := s.rule.spec.Topic
	w := g.silences.by[watchKey{d.ID, name}]
	if w == nil {
		w = &watched{id: d.ID, rule: name, place: -1}
		g.silences.by[watchKey{d.ID, name}] = w
	}
	w.heard = now
	if w.place < 0 {
		w.due = now.Add(after)
		heap.Push(&g.silences.due, w)
		g.arm(w.due)
	}
	key := alarmKey(name, "", "")
	if a, is := d.Alarms[key]; is {
		g.end(d, key)
		b.change.Append = append(b.change.Append, g.alarmRecord(d.ID, s.room, "", "silence", a.Text, false, now))
	}
}

// followSilence brings what is watched in line with devices and rules.
func (g *Gateway) followSilence(now time.Time) {
	old := g.silences.by
	g.silences = newSilences()
	for id, d := range g.devices.byID {
		for _, r := range g.rulesOf(d) {
			if r.spec.Silence <= 0 {
				continue
			}
			w := &watched{id: id, rule: r.spec.Topic, heard: now, place: -1}
			if was := old[watchKey{id, w.rule}]; was != nil {
				w.heard = was.heard
			}
			g.silences.by[watchKey{id, w.rule}] = w
			if _, raised := d.Alarms[alarmKey(w.rule, "", "")]; raised {
				continue
			}
			w.due = w.heard.Add(r.spec.Silence)
			heap.Push(&g.silences.due, w)
			g.arm(w.due)
		}
	}
}

// forget stops watching a device.
func (s *silences) forget(id ids.DeviceID) {
	for key, w := range s.by {
		if key.id == id {
			if w.place >= 0 {
				heap.Remove(&s.due, w.place)
			}
			delete(s.by, key)
		}
	}
}

// silenceTick raises an alarm for each device of which nothing came for too long.
func (g *Gateway) silenceTick(b *batch, now time.Time) {
	s := g.silences
	for len(s.due) > 0 && !s.due[0].due.After(now) {
		w := s.due[0]
		d, r := g.devices.byID[w.id], g.rules.Load().byTopic[w.rule]
		if d == nil || r == nil || r.spec.Silence <= 0 {
			heap.Pop(&s.due)
			delete(s.by, watchKey{w.id, w.rule})
			continue
		}
		if w.heard.After(now) { // a clock went back
			w.heard = now
		}
		heard := w.heard
		if since := g.link.listening(now); since.After(heard) && !since.After(now) {
			heard = since
			g.tellLost(b, now)
		}
		if at := heard.Add(r.spec.Silence); at.After(now) {
			w.due = at
			heap.Fix(&s.due, 0)
			continue
		}
		heap.Pop(&s.due)
		text := fmt.Sprintf("Nothing came from %s for %s.", title(d.Name), span(r.spec.Silence))
		key := alarmKey(w.rule, "", "")
		if _, is := d.Alarms[key]; is || !g.raise(d, key, RaisedAlarm{Rule: w.rule, Text: text, Since: now}) {
			continue
		}
		at := d.Room
		if sub, err := r.subject(d.Rules[w.rule]); err == nil && r.hasRoom {
			at = sub.room
		}
		b.change.Append = append(b.change.Append, g.alarmRecord(d.ID, at, "", "silence", text, true, now))
	}
	if len(s.due) > 0 {
		g.arm(s.due[0].due)
	}
}

// span is a duration for people: "1 hour", "90 minutes", "2 days".
func span(d time.Duration) string {
	for _, u := range []struct {
		is   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}, {time.Second, "second"}} {
		if d >= u.is && d%u.is == 0 {
			return count(int(d/u.is), u.name)
		}
	}
	return d.String()
}

// silenceHeap has what is to be looked at first in front.
type silenceHeap []*watched

func (h silenceHeap) Len() int           { return len(h) }
func (h silenceHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h silenceHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push is for container/heap.
func (h *silenceHeap) Push(x any) {
	w := x.(*watched)
	w.place = len(*h)
	*h = append(*h, w)
}

// Pop is for container/heap.
func (h *silenceHeap) Pop() any {
	old := *h
	w := old[len(old)-1]
	*h = slices.Delete(old, len(old)-1, len(old))
	w.place = -1
	return w
}
