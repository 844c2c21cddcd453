package lane

import (
	"strings"
	"testing"
)

// fill makes the load of so many records of each class, of ten bytes each.
func fill(telemetry, state, event, alarm int) (l Load) {
	for c, n := range map[Class]int{Telemetry: telemetry, State: state, Event: event, Alarm: alarm} {
		l.Add(c, n, int64(10*n))
	}
	return l
}

func TestOver(t *testing.T) {
	b := MakeBounds(100, 1000)
	for _, c := range []struct {
		name         string
		load         Load
		over, common bool
	}{
		{"empty", Load{}, false, false},
		{"events up to the reserve", fill(0, 0, 90, 0), false, false},
		{"events in the reserve", fill(0, 0, 91, 0), true, true},
		{"alarms in the reserve", fill(30, 30, 30, 10), false, false},
		{"alarms alone", fill(0, 0, 0, 100), false, false},
		{"too many alarms", fill(0, 0, 0, 101), true, false},
		{"alarms and events", fill(0, 0, 50, 51), true, false},
		{"few but large events", Load{Records: 2, Bytes: 901}, true, true},
		{"few but large alarms", Load{Records: 2, Alarms: 2, Bytes: 1000, AlarmBytes: 1000}, false, false},
		{"alarms larger than the lane", Load{Records: 2, Alarms: 2, Bytes: 1001, AlarmBytes: 1001}, true, false},
	} {
		if over, common := b.Over(c.load); over != c.over || common != c.common {
			t.Errorf("%s: over %v, common %v", c.name, over, common)
		}
	}
}

func TestVictimOrder(t *testing.T) {
	b := MakeBounds(10, 1000)
	letters := "xtsSea" // one for each rank, in order
	for _, c := range []struct {
		name, holds string
		load        Load
		want        string
	}{
		{"nothing to do", "xtsSea", fill(1, 1, 1, 1), ""},
		{"expired first", "xtsSea", fill(4, 4, 4, 1), "x"},
		{"then telemetry", "tsSea", fill(4, 4, 4, 1), "t"},
		{"then superseded state", "sSea", fill(4, 4, 4, 1), "s"},
		{"then state", "Sea", fill(0, 8, 4, 1), "S"},
		{"then events", "ea", fill(0, 0, 11, 1), "e"},
		{"alarms last", "a", fill(0, 0, 0, 11), "a"},
		{"events do not push out alarms", "a", fill(0, 0, 10, 1), ""},
		{"alarms push out events", "ea", fill(0, 0, 5, 6), "e"},
		{"all in flight", "", fill(0, 0, 11, 0), ""},
	} {
		got := ""
		if r, ok := b.Victim(c.load, func(r Rank) bool { return strings.ContainsRune(c.holds, rune(letters[r])) }); ok {
			got = letters[r : r+1]
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestFits(t *testing.T) {
	b := MakeBounds(10, 1000)
	if !b.Fits(Event, 900) || b.Fits(Event, 901) || !b.Fits(Alarm, 1000) || b.Fits(Alarm, 1001) {
		t.Error("room for a single record")
	}
}

func TestClassNames(t *testing.T) {
	for c, want := range map[Class]string{Telemetry: "telemetry", State: "state", Event: "event", Alarm: "alarm", 0: "none", 9: "none"} {
		if c.String() != want {
			t.Errorf("class %d is %q", c, c)
		}
	}
}
