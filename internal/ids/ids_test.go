package ids

import (
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestDevice(t *testing.T) {
	for _, c := range []struct{ name, want string }{
		{"porch", "porch"},
		{"a.b_c-9", "a.b_c-9"},
		{"", ""},
		{strings.Repeat("a", 64), strings.Repeat("a", 64)},
	} {
		if got := Device(c.name); string(got) != c.want {
			t.Errorf("Device(%q) = %q, want %q", c.name, got, c.want)
		}
	}
	valid := regexp.MustCompile(`^[a-z0-9._-]{1,64}$`)
	seen := map[DeviceID]string{}
	for _, name := range []string{"Door-1", "door-1", "Living room lamp", "Küche", "кухня", "a/b", "../x", " ", "\x00", strings.Repeat("Ab", 60), strings.Repeat("a", 65)} {
		id := Device(name)
		if !valid.MatchString(string(id)) {
			t.Errorf("Device(%q) = %q is not a valid id", name, id)
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q share the id %q", name, other, id)
		}
		seen[id] = name
	}
}

func TestULIDIsOrderedByTimeAndUnique(t *testing.T) {
	early, late := NewULID(time.UnixMilli(1)), NewULID(time.UnixMilli(1<<41))
	if len(early) != 26 || early >= late {
		t.Errorf("%q is not before %q", early, late)
	}
	if got := NewULID(time.UnixMilli(1469918176385))[:10]; got != "01ARYZ6S41" { // the example of the ULID specification
		t.Errorf("time part %q", got)
	}
	seen := map[string]bool{}
	for range 1000 {
		id := NewULID(time.Unix(0, 0))
		if seen[id] {
			t.Fatal("twice the same")
		}
		seen[id] = true
	}
}
