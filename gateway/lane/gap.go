package lane

import "maps"

// Dropped is the gap that r leaves behind when it is dropped, all of it counted as expired if its time was over. The gap of
// a gap marker is the marker's own.
func Dropped(r Record, expired bool) Gap {
	if r.Gap != nil {
		return r.Gap.clone()
	}
	n := r.Count()
	g := Gap{Dropped: map[Class]int{r.Class: n}, From: r.At, To: r.At}
	if expired {
		g.Expired = n
	}
	if r.Digest != nil {
		g.From = earlier(r.Digest.Since, r.At)
	}
	return g
}

// Join is one gap that counts what both count and spans both. Neither is changed.
func (g Gap) Join(o Gap) Gap {
	sum := g.clone()
	for c, n := range o.Dropped {
		sum.Dropped[c] += n
	}
	sum.Expired += o.Expired
	sum.From, sum.To = earlier(g.From, o.From), later(g.To, o.To)
	return sum
}

// Count is the number of messages that were dropped.
func (g Gap) Count() int {
	n := 0
	for _, c := range g.Dropped {
		n += c
	}
	return n
}

// Worst is the class that weighs most among what was dropped.
func (g Gap) Worst() Class {
	worst := Telemetry
	for c, n := range g.Dropped {
		if n > 0 {
			worst = max(worst, c)
		}
	}
	return worst
}

func (g Gap) clone() Gap {
	c := g
	c.Dropped = maps.Clone(g.Dropped)
	if c.Dropped == nil {
		c.Dropped = map[Class]int{}
	}
	return c
}
