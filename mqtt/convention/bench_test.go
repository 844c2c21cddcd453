package convention

import (
	"fmt"
	"testing"
)

// BenchmarkAnnouncements decodes all captured announcements of Home Assistant discovery; an operation is one message.
func BenchmarkAnnouncements(b *testing.B) {
	c := made(b, "homeassistant", "")
	all := captures(b, "homeassistant")
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		messages := all[n%len(all)].messages
		m := messages[n/len(all)%len(messages)]
		if c.Key(m.Topic) != "" {
			c.Step(nil, m)
		}
	}
}

// BenchmarkMerge puts 10 000 parts of 1 000 devices together.
func BenchmarkMerge(b *testing.B) {
	var parts []Part
	for i := range 10_000 {
		p := part("homeassistant", fmt.Sprint(i), fmt.Sprintf("ha:%d", i%1000))
		p.Readings = []Reading{{Name: fmt.Sprintf("r%d", i), Kind: Number, Source: Source{Topic: fmt.Sprint(i)}}}
		parts = append(parts, p)
	}
	for b.Loop() {
		if n := len(Merge(parts)); n != 1000 {
			b.Fatal(n)
		}
	}
}
