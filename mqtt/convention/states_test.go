package convention

import (
	"math/rand/v2"
	"reflect"
	"testing"
)

// TestDamagedStates: a State that was spoilt on its way breaks nothing, and the next messages make it whole again.
func TestDamagedStates(t *testing.T) {
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			random := rand.New(rand.NewPCG(7, 8))
			for _, c := range captures(t, name) {
				for range 4 {
					p := newPlayer(t, made(t, name, c.prefix))
					for _, m := range c.messages {
						p.play(m)
						if key := p.c.Key(m.Topic); random.IntN(2) == 0 && key != "" && p.states[key] != nil {
							p.states[key] = spoil(random, p.states[key])
						}
					}
				}
			}
		})
	}
}

func TestSparkplugState(t *testing.T) {
	e := spEdge{BdSeq: "18446744073709551615", Seq: 255, Asked: true, Devices: map[string]spDevice{
		"":  {Alive: true, Metrics: []spKnown{{Name: "a/b", Type: spFloat, Reading: "a_b"}, {Name: "c", Alias: 0, HasAlias: true, Type: spString, Reading: "c"}}},
		"d": {Dead: true},
	}}
	if got := recallSpEdge(e.remember()); !reflect.DeepEqual(got, e) {
		t.Errorf("%+v, want %+v", got, e)
	}
	empty := spEdge{Devices: map[string]spDevice{}}
	for _, s := range []State{nil, State(`{"b":"1"}`), e.remember()[:9]} {
		if got := recallSpEdge(s); !reflect.DeepEqual(got, empty) {
			t.Errorf("%q: %+v", s, got)
		}
	}
}
