package lane

import (
	"math"
	"time"
)

// Mergeable says whether r may take part in a Merge: state or telemetry of a named reading that is neither urgent nor a gap.
func (r Record) Mergeable() bool {
	return (r.Class == State || r.Class == Telemetry) && r.Key != "" && !r.Urgent && r.Gap == nil
}

// Merge makes one record of newer and of older, which waits in the same lane and is not in flight. ok is false when the two
// do not belong together; then nothing is merged.
//
// The result stands at the place of older (its Seq and Lane) and may be sent as early as either. It has the ID of newer:
// an attempt to send older may have reached the homeserver, and what it left there must not pass for the merged record.
// State is replaced. Telemetry keeps the newest post and adds up the digests; a message without a number is only counted.
// Neither record is changed; the result shares the post of newer.
func Merge(older, newer Record) (merged Record, ok bool) {
	if !older.Mergeable() || !newer.Mergeable() || older.Class != newer.Class || older.Device != newer.Device ||
		older.Key != newer.Key || older.Lane != newer.Lane {
		return Record{}, false
	}
	merged = newer
	merged.Seq = older.Seq
	if older.NotBefore.Before(newer.NotBefore) {
		merged.NotBefore = older.NotBefore
	}
	if newer.Class == Telemetry {
		d := older.digest()
		d.add(newer.digest())
		merged.Digest = &d
	}
	return merged, true
}

// Count is the number of messages that r stands for: those of its digest or of its gap, otherwise one.
func (r Record) Count() int {
	switch {
	case r.Gap != nil:
		return r.Gap.Count()
	case r.Digest != nil:
		return max(r.Digest.N, 1)
	default:
		return 1
	}
}

// Numbers is how many of the messages had a number.
func (d Digest) Numbers() int { return d.N - d.Other }

// Mean is the mean of the numbers; ok is false when there was none.
func (d Digest) Mean() (mean float64, ok bool) {
	if d.Numbers() <= 0 {
		return 0, false
	}
	return d.Sum / float64(d.Numbers()), true
}

// digest is what r counts: its own digest, or one message without a number. What is not finite is no number.
func (r Record) digest() Digest {
	if r.Digest == nil || r.Digest.N < 1 {
		return Digest{N: 1, Other: 1, Since: r.At}
	}
	d := *r.Digest
	if !finite(d.Min) || !finite(d.Max) || !finite(d.Sum) {
		d.Other, d.Min, d.Max, d.Sum = d.N, 0, 0, 0
	}
	if d.Since.IsZero() {
		d.Since = r.At
	}
	return d
}

func (d *Digest) add(o Digest) {
	switch {
	case o.Numbers() <= 0:
	case d.Numbers() <= 0:
		d.Min, d.Max, d.Sum = o.Min, o.Max, o.Sum
	default:
		d.Min, d.Max, d.Sum = min(d.Min, o.Min), max(d.Max, o.Max), d.Sum+o.Sum
	}
	d.N += o.N
	d.Other += o.Other
	d.Since = earlier(d.Since, o.Since)
}

func finite(f float64) bool { return !math.IsNaN(f) && !math.IsInf(f, 0) }

// earlier is the earlier of two times; a zero time is not known.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
