package sound

import "testing"

func TestMeterKnowsTones(t *testing.T) {
	for _, hertz := range []int{300, 700, 1000, 1320} {
		var m Meter
		if m.Hertz() != 0 {
			t.Error("a pitch of nothing")
		}
		for n := range 25 {
			m.Add(Tone(hertz, n))
		}
		if got := m.Hertz(); !Near(got, hertz) {
			t.Errorf("%d Hz is taken for %d", hertz, got)
		}
		for range 25 {
			m.Add(make([]byte, 0))
			m.Add(silence())
		}
		if got := m.Hertz(); got != 0 {
			t.Errorf("silence is taken for %d Hz", got)
		}
	}
}

// silence is a frame of it.
func silence() []byte {
	b := make([]byte, Frame)
	for i := range b {
		b[i] = 0xff
	}
	return b
}
