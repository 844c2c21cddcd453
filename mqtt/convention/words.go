package convention

import (
	"slices"
	"strings"
)

// kindWords says what a device is by words in its name, its type or the names of its parts, in the order of Kinds.
var kindWords = []struct {
	kind  Kind
	words []string
}{
	{Lock, []string{"lock", "doorlock", "smartlock", "deadbolt"}},
	{Siren, []string{"siren"}},
	{Camera, []string{"camera", "doorbell"}},
	{Valve, []string{"valve", "irrigation", "sprinkler"}},
	{Cover, []string{"cover", "shutter", "blind", "blinds", "roller", "curtain", "awning", "garage", "gate"}},
	{Climate, []string{"thermostat", "climate", "heating", "hvac", "trv"}},
	{Heater, []string{"boiler"}},
	{Humidifier, []string{"humidifier", "dehumidifier"}},
	{Fan, []string{"fan", "ventilation"}},
	{Vacuum, []string{"vacuum"}},
	{Mower, []string{"mower"}},
	{Lamp, []string{"light", "lights", "lamp", "bulb", "dimmer", "led"}},
	{Plug, []string{"switch", "relay", "plug", "outlet", "socket"}},
	{Tracker, []string{"gps", "tracker"}},
	{Remote, []string{"button", "remote"}},
}

// kindOf guesses what a device is from texts about it; Sensor if no word says more.
func kindOf(about ...string) Kind {
	var said []string
	for _, s := range about {
		said = append(said, strings.Split(word(s), "_")...)
	}
	for _, k := range kindWords {
		if slices.ContainsFunc(said, func(w string) bool { return slices.Contains(k.words, w) }) {
			return k.kind
		}
	}
	return Sensor
}

// dangerWords are in the names of what may open a way, make a noise, or undo a setting.
var dangerWords = []string{
	"lock", "unlock", "doorlock", "deadbolt", "valve", "garage", "gate", "door", "alarm", "siren", "warning", "squawk", "pin", "trigger", "reset", "factory", "reboot",
	"restart", "arm", "disarm", "rebirth",
}

// gradeOf is the grade of a command from words about it.
func gradeOf(about ...string) Grade {
	for _, s := range about {
		words := strings.Split(word(s), "_")
		if slices.Contains(words, "child") {
			continue // a lock of buttons
		}
		if slices.ContainsFunc(words, func(w string) bool { return slices.Contains(dangerWords, w) }) {
			return Dangerous
		}
	}
	return Operate
}

// alarmOf says whether a value that is on is an alarm, and its words for people; "" if not.
func alarmOf(name string) string {
	if text, ok := zigbeeAlarms[name]; ok {
		return text
	}
	for _, w := range []string{"smoke", "leak", "flood", "gas", "overheat"} {
		if slices.Contains(strings.Split(name, "_"), w) {
			return spoken(name)
		}
	}
	return ""
}

// secretWord tells whether a value with this name is a code that nobody else should see.
func secretWord(name string) bool {
	name = word(name)
	return name == "code" || slices.ContainsFunc(strings.Split(name, "_"), func(w string) bool {
		return slices.Contains([]string{"pin", "password", "passcode", "passphrase", "psk", "secret"}, w)
	})
}
