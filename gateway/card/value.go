package card

import (
	"strconv"
	"strings"

	"github.com/gatepost/gatepost/gateway/media"
	"github.com/gatepost/gatepost/mqtt/convention"
)

// maxValue is how many runes of a value a card shows.
const maxValue = 100

// Value is a reading's value as people read it, with its unit.
func Value(r *convention.Reading, text string) string {
	if text == "" {
		return ""
	}
	switch r.Kind {
	case convention.OnOff:
		return onOff(r, text)
	case convention.Number:
		if f, err := strconv.ParseFloat(text, 64); err == nil && r.Precision >= 0 {
			text = strconv.FormatFloat(f, 'f', min(r.Precision, 6), 64)
		}
	}
	text = line(text)
	if r.Unit != "" && r.Kind == convention.Number {
		text += " " + line(r.Unit)
	}
	return text
}

// line is somebody else's text as part of a line.
func line(s string) string {
	s, _ = media.Text([]byte(strings.ReplaceAll(s, "\n", " ")), maxValue)
	return s
}

// onOff says what on and off mean for what is measured.
func onOff(r *convention.Reading, text string) string {
	words := [2]string{"on", "off"}
	switch r.Quantity {
	case "door", "garage_door", "window", "opening":
		words = [2]string{"open", "closed"}
	case "lock":
		words = [2]string{"unlocked", "locked"}
	case "battery":
		words = [2]string{"low", "good"}
	case "motion", "occupancy", "presence", "smoke", "gas", "carbon_monoxide", "moisture", "vibration", "sound", "tamper", "problem":
		words = [2]string{"detected", "clear"}
	case "connectivity":
		words = [2]string{"connected", "not connected"}
	case "plug":
		words = [2]string{"plugged in", "unplugged"}
	case "running":
		words = [2]string{"running", "not running"}
	case "safety":
		words = [2]string{"unsafe", "safe"}
	}
	switch text {
	case r.On:
		return words[0]
	case r.Off:
		return words[1]
	}
	return line(text)
}
