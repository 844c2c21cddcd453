package card

import (
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/mqtt/convention"
)

func TestRender(t *testing.T) {
	zone := time.FixedZone("there", 3600)
	now := time.Date(2026, 11, 23, 13, 30, 0, 0, time.UTC)
	v := View{
		Name: "Hall <b>", About: "Thermostat, Acme T1", Online: Unreachable, Since: now.Add(-26 * time.Hour), Alarms: []string{"Smoke"},
		Battery: Line{"Battery", "80 %", now.Add(-time.Minute)}, More: 2,
		Lines:   []Line{{"Temperature", "21.4 °C", now}, {"Window", "", time.Time{}}},
		Command: Command{"set target 21", "confirmed", "@alice:example.org", now.Add(-time.Hour)},
	}
	got := Render(v, now, zone)
	want := `Hall <b> · Thermostat, Acme T1
⚠ Smoke
🔌 cannot be reached (since Nov 22 12:30)
Temperature: 21.4 °C (14:30)
Window: not known
🔋 Battery: 80 % (14:29)
and 2 more: !status
▶ !set target 21: confirmed, asked by @alice:example.org (13:30)`
	if got.Plain != want {
		t.Errorf("got\n%s\nwant\n%s", got.Plain, want)
	}
	if html := `<strong>Hall &lt;b&gt;</strong> · Thermostat, Acme T1<br>⚠ Smoke<br>🔌 cannot be reached <em>since Nov 22 12:30</em><br>Temperature: <strong>21.4 °C</strong> <em>14:30</em>`; !strings.HasPrefix(got.HTML, html) {
		t.Errorf("html %s\nwant %s", got.HTML, html)
	}
	// Time alone is no news; a value is.
	later := v
	later.Lines = []Line{{"Temperature", "21.4 °C", now.Add(time.Hour)}, {"Window", "", time.Time{}}}
	if Render(later, now.Add(2*time.Hour), zone).Essence != got.Essence {
		t.Error("the time of a reading makes news")
	}
	later.Lines[0].Value = "21.5 °C"
	if Render(later, now, zone).Essence == got.Essence {
		t.Error("a value makes no news")
	}
}

func TestManyLines(t *testing.T) {
	v := View{Name: "x", Lines: make([]Line, 200)}
	got := Render(v, time.Now(), time.UTC)
	if n := strings.Count(got.Plain, "\n"); n != maxLines+1 || !strings.HasSuffix(got.Plain, "and 170 more: !status") {
		t.Errorf("%d lines, ending %q", n, got.Plain[len(got.Plain)-40:])
	}
}

func TestValue(t *testing.T) {
	for _, tc := range []struct {
		r          convention.Reading
		text, want string
	}{
		{convention.Reading{Kind: convention.Number, Unit: "°C", Precision: -1}, "21.45", "21.45 °C"},
		{convention.Reading{Kind: convention.Number, Unit: "°C", Precision: 1}, "21.45", "21.4 °C"},
		{convention.Reading{Kind: convention.Number, Precision: 0}, "abc", "abc"},
		{convention.Reading{Kind: convention.OnOff, On: "ON", Off: "OFF"}, "ON", "on"},
		{convention.Reading{Kind: convention.OnOff, On: "ON", Off: "OFF", Quantity: "door"}, "OFF", "closed"},
		{convention.Reading{Kind: convention.OnOff, On: "ON", Off: "OFF", Quantity: "lock"}, "ON", "unlocked"},
		{convention.Reading{Kind: convention.Text, Unit: "x"}, "two\nlines", "two lines"},
		{convention.Reading{Kind: convention.Text}, "", ""},
	} {
		if got := Value(&tc.r, tc.text); got != tc.want {
			t.Errorf("%+v of %q: %q, want %q", tc.r, tc.text, got, tc.want)
		}
	}
}
