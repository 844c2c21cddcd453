package card

import (
	"cmp"
	"fmt"
	"html"
	"strings"
	"time"
)

// View is what a card shows. All texts are somebody else's: at most a line each, valid UTF-8 without control characters. They
// are escaped here.
type View struct {
	Name    string
	About   string    // what it is: "Lamp, IKEA LED1545"; "" nobody knows
	Online  Online    //
	Since   time.Time // of Online
	Alarms  []string  // raised and not over
	Battery Line      // Value "": it has none
	Lines   []Line    // in their order
	More    int       // readings that are not shown
	Most    int       // lines of readings at most; 0: 30
	Refused []string  // what it announced and is not supported
	Command Command   // the latest; Name "": there was none
}

// Online says whether a device can be reached.
type Online uint8

// The zero value is that nobody knows, and then nothing is said of it.
const (
	Unknown Online = iota
	Reachable
	Unreachable
)

// Line is one reading.
type Line struct {
	Label string
	Value string // with its unit; "" not known
	At    time.Time
}

// Command is what somebody asked the device to do.
type Command struct {
	Name  string
	State string // in words
	By    string
	At    time.Time
}

// Text is a card as people see it.
type Text struct {
	Plain, HTML string
	// Essence is the plain text without the times that go on by themselves: while it is the same there is no need for an edit.
	Essence string
}

// maxLines bounds what a phone has to show.
const maxLines = 30

// Render makes the card. Times are shown in zone: those of today as hours and minutes, others with their day.
func Render(v View, now time.Time, zone *time.Location) Text {
	w := &writer{now: now.In(zone), zone: zone}
	w.title(v)
	for _, a := range v.Alarms {
		w.line("⚠ ", a, "")
	}
	if v.Online == Unreachable {
		w.line("🔌 ", "cannot be reached", w.since(v.Since))
	}
	lines := v.Lines
	if most := cmp.Or(v.Most, maxLines); len(lines) > most {
		v.More += len(lines) - most
		lines = lines[:most]
	}
	for _, l := range lines {
		w.reading("", l)
	}
	if v.Battery.Value != "" {
		w.reading("🔋 ", v.Battery)
	}
	if v.More > 0 {
		how := ": !status"
		if v.Most != 0 {
			how = "" // this is what it answers
		}
		w.line("", fmt.Sprintf("and %d more%s", v.More, how), "")
	}
	for _, r := range v.Refused {
		w.line("✖ ", r, "")
	}
	if c := v.Command; c.Name != "" {
		text := "!" + c.Name + ": " + c.State
		if c.By != "" {
			text += ", asked by " + c.By
		}
		w.line("▶ ", text, w.at(c.At))
	}
	return Text{Plain: strings.TrimSuffix(w.plain.String(), "\n"), HTML: w.html.String(), Essence: w.essence.String()}
}

// writer writes a card three times over.
type writer struct {
	now                  time.Time
	zone                 *time.Location
	plain, html, essence strings.Builder
}

func (w *writer) title(v View) {
	w.plain.WriteString(v.Name)
	w.essence.WriteString(v.Name)
	w.html.WriteString("<strong>" + html.EscapeString(v.Name) + "</strong>")
	if v.About != "" {
		w.plain.WriteString(" · " + v.About)
		w.essence.WriteString(" · " + v.About)
		w.html.WriteString(" · " + html.EscapeString(v.About))
	}
	w.plain.WriteByte('\n')
	w.essence.WriteByte('\n')
}

// line writes a mark, a text, and a time that makes no news.
func (w *writer) line(mark, text, at string) {
	w.essence.WriteString(mark + text + "\n")
	w.plain.WriteString(mark + text)
	w.html.WriteString("<br>" + html.EscapeString(mark+text))
	w.time(at)
}

func (w *writer) reading(mark string, l Line) {
	value := l.Value
	if value == "" {
		value = "not known"
	}
	w.essence.WriteString(mark + l.Label + ": " + value + "\n")
	w.plain.WriteString(mark + l.Label + ": " + value)
	w.html.WriteString("<br>" + html.EscapeString(mark+l.Label) + ": <strong>" + html.EscapeString(value) + "</strong>")
	w.time(w.at(l.At))
}

func (w *writer) time(at string) {
	if at != "" {
		w.plain.WriteString(" (" + at + ")")
		w.html.WriteString(" <em>" + html.EscapeString(at) + "</em>")
	}
	w.plain.WriteByte('\n')
}

// at is a time for people; "" for none.
func (w *writer) at(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	t = t.In(w.zone)
	if y, m, d := t.Date(); y != w.now.Year() || m != w.now.Month() || d != w.now.Day() {
		return t.Format("Jan 2 15:04")
	}
	return t.Format("15:04")
}

func (w *writer) since(t time.Time) string {
	if at := w.at(t); at != "" {
		return "since " + at
	}
	return ""
}
