package lane

import (
	"math"
	"reflect"
	"testing"
	"time"
)

func at(second int) time.Time { return time.Unix(int64(1_000+second), 0).UTC() }

func reading(class Class, id string, second int, text string) Record {
	return Record{Lane: "device/a", ID: id, Device: "a", Class: class, Key: "t", At: at(second), Post: Post{Kind: Text, Text: text}}
}

func number(id string, second int, v float64) Record {
	r := reading(Telemetry, id, second, "n")
	r.Digest = &Digest{N: 1, Min: v, Max: v, Sum: v, Since: r.At}
	return r
}

func TestMergeRefusesWhatDoesNotBelongTogether(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(r *Record)
	}{
		{"an event", func(r *Record) { r.Class = Event }},
		{"an alarm", func(r *Record) { r.Class = Alarm }},
		{"another class", func(r *Record) { r.Class = Telemetry }},
		{"another device", func(r *Record) { r.Device = "b" }},
		{"another key", func(r *Record) { r.Key = "u" }},
		{"no key", func(r *Record) { r.Key = "" }},
		{"another lane", func(r *Record) { r.Lane = "device/b" }},
		{"urgent", func(r *Record) { r.Urgent = true }},
		{"a gap", func(r *Record) { r.Gap = &Gap{} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := reading(State, "1", 1, "on"), reading(State, "2", 2, "off")
			c.change(&b)
			if _, ok := Merge(a, b); ok {
				t.Error("merged as the newer one")
			}
			if _, ok := Merge(b, a); ok {
				t.Error("merged as the older one")
			}
		})
	}
	both := reading(Event, "1", 1, "")
	if _, ok := Merge(both, both); ok {
		t.Error("two events merged")
	}
}

func TestMergeState(t *testing.T) {
	older, newer := reading(State, "1", 1, "on"), reading(State, "2", 2, "off")
	older.Seq, older.NotBefore, older.Expires = 7, at(50), at(60)
	newer.NotBefore, newer.Expires = at(40), at(90)
	got, ok := Merge(older, newer)
	want := newer
	want.Seq = 7
	if !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	older.NotBefore = time.Time{}
	if got, _ := Merge(older, newer); !got.NotBefore.IsZero() {
		t.Errorf("what could be sent at once now waits until %v", got.NotBefore)
	}
}

func TestMergeTelemetry(t *testing.T) {
	nan := number("9", 9, math.NaN())
	for _, c := range []struct {
		name    string
		records []Record
		want    Digest
	}{
		{"numbers", []Record{number("1", 1, 4), number("2", 2, -2), number("3", 3, 7)}, Digest{N: 3, Min: -2, Max: 7, Sum: 9, Since: at(1)}},
		{"texts", []Record{reading(Telemetry, "1", 1, "a"), reading(Telemetry, "2", 2, "b")}, Digest{N: 2, Other: 2, Since: at(1)}},
		{"text first", []Record{reading(Telemetry, "1", 1, "a"), number("2", 2, 5), number("3", 3, 6)}, Digest{N: 3, Other: 1, Min: 5, Max: 6, Sum: 11, Since: at(1)}},
		{"text last", []Record{number("1", 1, 5), reading(Telemetry, "2", 2, "a")}, Digest{N: 2, Other: 1, Min: 5, Max: 5, Sum: 5, Since: at(1)}},
		{"not a number", []Record{number("1", 1, 5), nan}, Digest{N: 2, Other: 1, Min: 5, Max: 5, Sum: 5, Since: at(1)}},
		{"zero is a number", []Record{number("1", 1, 0), number("2", 2, 0)}, Digest{N: 2, Since: at(1)}},
		{"out of order", []Record{number("1", 5, 1), number("2", 2, 2)}, Digest{N: 2, Min: 1, Max: 2, Sum: 3, Since: at(2)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			sum := c.records[0]
			for _, r := range c.records[1:] {
				merged, ok := Merge(sum, r)
				if !ok {
					t.Fatal("not merged")
				}
				if merged.ID != r.ID || merged.Post.Text != r.Post.Text || !merged.At.Equal(r.At) {
					t.Errorf("%+v is not about the newest message", merged)
				}
				sum = merged
			}
			if *sum.Digest != c.want {
				t.Errorf("got %+v, want %+v", *sum.Digest, c.want)
			}
			if got := sum.Count(); got != c.want.N {
				t.Errorf("counts %d messages, want %d", got, c.want.N)
			}
		})
	}
}

func TestMergeChangesNeitherRecord(t *testing.T) {
	a, b := number("1", 1, 4), number("2", 2, 5)
	_, _ = Merge(a, b)
	if a.Digest.N != 1 || b.Digest.N != 1 || b.Seq != 0 {
		t.Errorf("changed: %+v, %+v", a, b)
	}
}

func TestMean(t *testing.T) {
	if m, ok := (Digest{N: 3, Other: 1, Sum: 5}).Mean(); !ok || m != 2.5 {
		t.Errorf("mean %v, %v", m, ok)
	}
	if _, ok := (Digest{N: 2, Other: 2}).Mean(); ok {
		t.Error("texts have a mean")
	}
}

func TestGap(t *testing.T) {
	digest := number("1", 9, 4)
	digest.Digest.N, digest.Digest.Since = 5, at(2)
	event := reading(Event, "2", 4, "x")
	a, b := Dropped(digest, false), Dropped(event, true)
	if a.Dropped[Telemetry] != 5 || !a.From.Equal(at(2)) || !a.To.Equal(at(9)) || a.Expired != 0 {
		t.Errorf("gap of a digest: %+v", a)
	}
	sum := a.Join(b)
	want := Gap{Dropped: map[Class]int{Telemetry: 5, Event: 1}, Expired: 1, From: at(2), To: at(9)}
	if !reflect.DeepEqual(sum, want) || !reflect.DeepEqual(b.Join(a), want) {
		t.Errorf("got %+v, want %+v", sum, want)
	}
	if len(a.Dropped) != 1 || len(b.Dropped) != 1 {
		t.Error("Join changed its parts")
	}
	if sum.Count() != 6 || sum.Worst() != Event {
		t.Errorf("counts %d, worst %v", sum.Count(), sum.Worst())
	}
	if again := Dropped(Record{Class: Event, Gap: &sum}, true); !reflect.DeepEqual(again, want) {
		t.Errorf("the gap of a gap marker is %+v", again)
	}
	if got := (Gap{}).Join(b); !reflect.DeepEqual(got, b) {
		t.Errorf("joined to nothing: %+v", got)
	}
}
