//go:build interop || bench

package template

import (
	"fmt"
	"testing"
)

// TestFigures prints how the templates of discovery messages compare with Home Assistant, a figure a line.
func TestFigures(t *testing.T) {
	s := compareDiscovery(t)
	print := func(name string, value float64, unit, must string, ok bool) {
		verdict := "ok"
		if !ok {
			verdict = "miss"
		}
		fmt.Printf("figure\t%s\t%v\t%s\t%s\t%s\n", name, value, unit, must, verdict) //nolint:forbidigo // the figure is what this is for
	}
	percent := func(n, of int) float64 { return float64(1000*n/of) / 10 }
	print("different templates of discovery messages", float64(s.templates), "templates", ">= 200", s.templates >= 200)
	print("templates that agree with Home Assistant or are refused by name", percent(s.cases-s.wrong, s.cases), "%", "100", s.wrong == 0)
	print("templates refused", percent(s.refused, s.templates), "%", "<= 5", 20*s.refused <= s.templates)
}
