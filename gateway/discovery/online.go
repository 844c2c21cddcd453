package discovery

import (
	"slices"
	"time"

	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// vote is what one source says of a device; the zero value is nothing so far.
type vote uint8

const (
	silent vote = iota
	yes
	no
)

func verdict(online bool) vote {
	if online {
		return yes
	}
	return no
}

// judge weighs the sources of one convention.Availability.
type judge struct {
	is     convention.Availability
	reads  []reader
	votes  []vote
	latest vote
}

// newJudge makes the judge of a, which goes on where that among old left off that has the same sources.
func newJudge(a convention.Availability, old []judge) judge {
	j := judge{is: a, reads: make([]reader, len(a.Sources)), votes: make([]vote, len(a.Sources))}
	for _, o := range old {
		if o.is.Mode == a.Mode && slices.Equal(o.is.Sources, a.Sources) {
			j.latest = o.latest
			copy(j.votes, o.votes)
		}
	}
	return j
}

// says is the verdict. Sources that never spoke do not count.
func (j *judge) says() vote {
	if j.is.Mode != convention.All && j.is.Mode != convention.Any {
		return j.latest
	}
	good, bad := slices.Contains(j.votes, yes), slices.Contains(j.votes, no)
	switch {
	case !good && !bad:
		return silent
	case j.is.Mode == convention.Any:
		return verdict(good)
	default:
		return verdict(!bad)
	}
}

// available takes a message of a source of availability.
func (h *Host) available(g *group, i, s int, m topic.Message) {
	j := &g.avail[i]
	text, ok := h.render(&j.reads[s], g, "", m)
	if !ok {
		return
	}
	switch text {
	case j.is.Sources[s].Online:
		j.votes[s], j.latest = yes, yes
	case j.is.Sources[s].Offline:
		j.votes[s], j.latest = no, no
	default:
		return
	}
	h.reach(g, m.Time)
}

// reach works out whether a device can be reached: it can if one of those who know says so.
func (h *Host) reach(g *group, now time.Time) {
	good, bad := false, false
	count := func(v vote) { good, bad = good || v == yes, bad || v == no }
	for i := range g.avail {
		count(g.avail[i].says())
	}
	for _, p := range g.parts {
		count(p.online)
	}
	is := g.dev.Online
	switch {
	case good:
		is = Reachable
	case bad:
		is = Unreachable
	}
	if is == g.dev.Online {
		return
	}
	g.dev.Online, g.dev.Since = is, now
	if g.stage == Admitted {
		h.saveGroup(g)
		h.touch(g, false)
	}
}
