package config

import (
	"regexp"
	"strings"
	"time"
)

var (
	captureForm = regexp.MustCompile(`\{[^{}/]*\}`)
	digitForm   = regexp.MustCompile(`^[0-9A-D*]$`)
)

func (r *report) devices(c *Config) {
	if len(c.Devices) > 0 && !r.places.has("matrix") {
		r.warn("devices", "the rules have no effect without the section matrix")
	}
	first := map[string]int{} // topic with captures made equal, to rule
	for i := range c.Devices {
		d, at := &c.Devices[i], item("devices", i)
		if !r.given(at+".topic", d.Topic) {
			continue
		}
		same := d.Topic
		if !strings.Contains(same, "{{") { // a literal brace
			same = captureForm.ReplaceAllString(same, "{}")
		}
		if other, twice := first[same]; twice {
			line := r.places.line(item("devices", other) + ".topic")
			r.fail(at+".topic", "%s matches the same topics as devices[%d] on line %d, which comes first and wins", quote(d.Topic), other, line)
		} else {
			first[same] = i
		}
	}
	for i := range c.Devices {
		r.device(item("devices", i), &c.Devices[i])
	}
}

func (r *report) device(at string, d *Device) {
	if d.Device == "" && !r.failed[at+".device"] && r.given(at+".topic", d.Topic) && !strings.Contains(d.Topic, "{") {
		r.fail(at+".device", "is required, because the topic has no {captures} to make a name of")
	}
	switch {
	case r.failed[at+".every"]:
	case r.places.has(at+".every") && d.Every <= 0:
		r.fail(at+".every", "must be more than 0")
	case d.Every > 0 && d.Class != "telemetry" && !r.failed[at+".class"]:
		r.fail(at+".every", "is for class: telemetry; this rule has class: %s", d.Class)
	}
	names := r.commands(at, d.Commands)
	for _, digit := range sortedKeys(d.Keys) {
		name, key := d.Keys[digit], at+".keys."+digit
		switch {
		case r.failed[key]:
		case !digitForm.MatchString(digit):
			r.fail(key, "is not 0 to 9, A to D or *, the keys of a telephone; # confirms what is dangerous")
		case !names[name]:
			r.fail(key, "%s is not a command of this rule", quote(name))
		}
	}
	if at := at + ".keys"; r.places.has(at) {
		switch {
		case d.Call == nil:
			r.fail(at, "needs call too")
		case d.Call.MQTT != "":
			r.warn(at, "has no effect with call.mqtt: the keys of such a call do not pass through gatepost, and the device is not believed")
		}
	}
	if c := d.Call; c != nil {
		r.oneOf(at+".call", "mqtt", "whep", "rtsp", "libpeer", "rtp", "announce")
		if key := at + ".call.record"; r.places.has(key) {
			if c.Announce == "" {
				r.fail(key, "needs announce, after which callers speak")
			}
			r.between(key, c.Record, 5*time.Second, 10*time.Minute)
		}
	}
	if s := d.Snapshot; s != nil {
		if d.Ring == nil {
			r.warn(at+".snapshot", "has no effect without ring, with which it is shown")
		}
		if r.oneOf(at+".snapshot", "topic", "url") && r.given(at+".snapshot.url", s.URL) {
			if _, err := parseURL(s.URL, "http", "https"); err != nil {
				r.fail(at+".snapshot.url", "%s", err)
			}
		}
	}
	if d.Ring != nil {
		if d.Call == nil && r.places.has(at+".ring") {
			r.fail(at+".ring", "needs call too")
		}
		r.between(at+".ring.timeout", d.Ring.Timeout, 5*time.Second, 5*time.Minute)
		if len(d.Ring.People) == 0 && r.places.has(at+".ring.people") && !r.failed[at+".ring.people"] {
			r.fail(at+".ring.people", "is empty; expected a list of Matrix user ids")
		}
	}
	if r.places.has(at + ".max_call") {
		if d.Call == nil {
			r.fail(at+".max_call", "needs call too")
		}
		r.between(at+".max_call", d.MaxCall, 10*time.Second, 24*time.Hour)
	}
}

// commands checks the commands of one rule and gives their names.
func (r *report) commands(at string, list []Command) map[string]bool {
	names := map[string]bool{}
	first := map[string]int{}
	for i := range list {
		c, at, all := &list[i], item(at+".commands", i), at+".commands"
		if r.given(at+".name", c.Name) {
			names[c.Name] = true
			folded := strings.ToLower(c.Name)
			if other, twice := first[folded]; twice {
				r.fail(at+".name", "%s is the name of two commands; first on line %d", quote(c.Name), r.places.line(item(all, other)+".name"))
			} else {
				first[folded] = i
			}
		}
		if c.Expires <= 0 && !r.failed[at+".expires"] {
			r.fail(at+".expires", "must be more than 0")
		}
		r.arguments(at+".args", c.Args)
		if c.Retain && c.Grade == GradeDangerous {
			r.fail(at+".retain", "a dangerous command must not stay in the broker, to act when the device comes back")
		}
	}
	return names
}

// So many arguments a command may have, and so many options an argument.
const (
	maxArgs    = 16
	maxOptions = 128
)

// arguments checks the arguments of one command, and says of what kind they are where the file does not.
func (r *report) arguments(at string, list []Arg) {
	if len(list) > maxArgs {
		r.fail(at, "has %d arguments; %d is the most", len(list), maxArgs)
	}
	for i := range list {
		a, at := &list[i], item(at, i)
		if a.Kind == "" {
			switch {
			case len(a.Options) > 0:
				a.Kind = KindOption
			case a.Range != Range{} || a.Step != 0 || a.Unit != "":
				a.Kind = KindNumber
			default:
				a.Kind = KindText
			}
		}
		if (a.Kind == KindOption) != (len(a.Options) > 0) && !r.failed[at+".options"] {
			r.fail(at+".options", "goes with kind: option, and that needs it")
		}
		if len(a.Options) > maxOptions {
			r.fail(at+".options", "has %d options; %d is the most", len(a.Options), maxOptions)
		}
		if a.Kind != KindNumber && (a.Unit != "" || a.Step != 0) {
			r.fail(at+".kind", "unit and step go with kind: number")
		}
		if a.Kind != KindNumber && a.Kind != KindText && a.Range != (Range{}) {
			r.fail(at+".range", "goes with kind: number or text")
		}
		if a.Step < 0 {
			r.fail(at+".step", "must not be less than 0")
		}
	}
}

// oneOf wants exactly one of the keys of a section.
func (r *report) oneOf(section string, keys ...string) bool {
	var found []string
	for _, key := range keys {
		if r.places.has(section + "." + key) {
			found = append(found, key)
		}
	}
	switch {
	case r.failed[section]:
	case len(found) == 0:
		r.fail(section, "is empty; expected one of %s", strings.Join(keys, ", "))
	case len(found) > 1:
		r.fail(section, "has %s; keep one", strings.Join(found, " and "))
	default:
		return true
	}
	return false
}

// between wants a duration from least to most.
func (r *report) between(path string, d, least, most time.Duration) {
	if (d < least || d > most) && !r.failed[path] {
		r.fail(path, "%s is not from %s to %s", formatDuration(d), formatDuration(least), formatDuration(most))
	}
}
