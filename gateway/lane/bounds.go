package lane

// Bounds limit what waits in one lane. Urgent records and gap markers are outside them.
type Bounds struct {
	Records       int   // at most so many records wait
	Bytes         int64 // and so many bytes of them, as they are stored
	AlarmRecords  int   // of Records, so many are kept free for alarms
	AlarmBytes    int64 // of Bytes, so many are kept free for alarms
	MaxGapMarkers int   // more gap markers than this become fewer, across the records between them
}

// MakeBounds are the bounds of a lane of so many records and bytes: a tenth is kept free for alarms, 64 gap markers.
func MakeBounds(records int, bytes int64) Bounds {
	return Bounds{Records: records, Bytes: bytes, AlarmRecords: records / 10, AlarmBytes: bytes / 10, MaxGapMarkers: 64}
}

// Load is what waits in a lane and counts towards its Bounds.
type Load struct {
	Records, Alarms   int   // all records, and the alarms among them
	Bytes, AlarmBytes int64 // likewise
}

// Add counts n records (which may be negative) of class c with so many bytes in all.
func (l *Load) Add(c Class, n int, bytes int64) {
	l.Records += n
	l.Bytes += bytes
	if c == Alarm {
		l.Alarms += n
		l.AlarmBytes += bytes
	}
}

// Over says whether something must give way. common is true if it must be something else than an alarm, because the
// other classes have grown into the room reserved for alarms.
func (b Bounds) Over(l Load) (over, common bool) {
	common = l.Records-l.Alarms > b.Records-b.AlarmRecords || l.Bytes-l.AlarmBytes > b.Bytes-b.AlarmBytes
	return common || l.Records > b.Records || l.Bytes > b.Bytes, common
}

// Fits says whether a record of so many bytes can be in the lane at all, if need be alone.
func (b Bounds) Fits(c Class, bytes int64) bool {
	if c == Alarm {
		return bytes <= b.Bytes
	}
	return bytes <= b.Bytes-b.AlarmBytes
}

// Rank is a place in the order in which records give way.
type Rank uint8

// The ranks, from the first to give way to the last. Of one rank the oldest goes first. Urgent records have none.
const (
	RankExpired    Rank = iota // of any class
	RankTelemetry              // digests too: what they count is counted in the gap
	RankSuperseded             // state of which a newer one waits
	RankState
	RankEvent
	RankAlarm
	Ranks // how many there are
)

// Victim chooses the rank that gives way in a lane with that load, out of those that hold a record that may go: not urgent
// and not in flight. The record that has just arrived takes part: it goes itself when nothing of lower rank is left and it
// is the oldest of its own. ok is false when nothing has to give way, or nothing can.
func (b Bounds) Victim(l Load, holds func(Rank) bool) (r Rank, ok bool) {
	over, common := b.Over(l)
	if !over {
		return 0, false
	}
	last := RankAlarm
	if common {
		last = RankEvent
	}
	for r = RankExpired; r <= last; r++ {
		if holds(r) {
			return r, true
		}
	}
	return 0, false
}
