package gateway

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/template"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// RuleSpec is a device rule as somebody writes it (design of the configuration: `devices:`). The zero value of every field
// but Topic is usable.
type RuleSpec struct {
	Topic   string        // pattern with {captures}; also the identity of the rule
	Device  string        // {captures}; "" is "{device}" where the pattern has it, else the captures joined by "-"
	Name    string        // {captures}; "" is the device's name as Device gives it
	Room    string        // {captures}; "" one room a device
	Space   string        // {captures}; "" none
	Kind    string        // what its devices are, a convention.Kind; "" nobody says
	Class   lane.Class    // 0: Telemetry with Every, else Event
	Every   time.Duration // telemetry: at most one message of a reading in this time; 0 no limit
	Expires time.Duration // events: not posted when older; 0 never
	// Encryption of the room; EncryptionUnset as the gateway's.
	Encryption Encryption
	ID         string // Jinja: the device's own message id; "" none
	Post       string // Jinja: the text; "" by payload kind
	Commands   []CommandSpec
	Alarms     []AlarmSpec
	Silence    time.Duration // an alarm when nothing came of a device for so long; 0: never
	Call       *CallSpec     // nil: the device can't be called
}

// CallSpec is how a device takes part in calls: it has a WebRTC stack of its own and signals over MQTT.
type CallSpec struct {
	Prefix string        // {captures}; of the topics PREFIX/call/in and PREFIX/call/out; "": the device says nothing of calls
	Media  Media         // with Prefix empty, save for Libpeer
	Max    time.Duration // the longest call
	Ring   *RingSpec     // nil: the device calls nobody
	// Where pictures come from that are shown with a ring; at most one is set.
	Picture    string // {captures}; a topic
	PictureURL string
	Keys       map[rune]string // key of a telephone to command, with Media: those of a call that is not ours count for nothing
}

// Media is what the gateway itself plays to whoever calls a device; one of its fields is set. The zero value is nothing.
type Media struct {
	Announce string        // a tone or a file, as package voip/media names it
	Record   time.Duration // with Announce: what the caller says then is posted, up to this length; 0: nothing is
	// Addresses as package voip/source reads them. They may hold passwords.
	WHEP, RTSP, RTP string
	Libpeer         bool // negotiated on PREFIX/invoke and PREFIX/result
}

// RingSpec is whom a device rings.
type RingSpec struct {
	Topic   string       // {captures}; a message there rings; "" only {"type":"ring"} on PREFIX/call/out does
	People  []ids.UserID // at least one
	AtOnce  bool         // all of them; else in turn
	Timeout time.Duration
}

// CommandSpec is a command of a device as somebody writes it.
type CommandSpec struct {
	Name    string
	Topic   string // {captures}
	Payload string // Jinja, with args, captures
	QoS     byte   // 0 or 1
	Retain  bool
	Confirm *ConfirmSpec  // nil: published is the last thing we know
	Grade   Grade         // 0: Operate
	Expires time.Duration // 0: 30 s
	Repeat  bool          // may be published again when nobody knows whether it was
	// Args are what stands behind the name, which Payload then knows by their names; empty: any text, which it knows as args.
	Args   []convention.Arg
	People []ids.UserID // only they may ask, of those who have the power; empty: all of them
}

// ConfirmSpec says how the device's own answer looks.
type ConfirmSpec struct {
	Topic   string // {captures}
	Payload string // Jinja; "" any payload
}

// Grade says how much a command may do, and so who may ask for it.
type Grade uint8

// The grades.
const (
	Read      Grade = iota + 1 // power level 0
	Operate                    // 25
	Dangerous                  // 50, and a second look
)

// Power is the power level that a command of this grade asks for.
func (g Grade) Power() int {
	switch g {
	case Read:
		return 0
	case Dangerous:
		return 50
	default:
		return 25
	}
}

// gradeOf is a grade as package convention has it.
func gradeOf(g convention.Grade) Grade {
	switch g {
	case convention.Read:
		return Read
	case convention.Dangerous:
		return Dangerous
	default:
		return Operate
	}
}

// String is the grade as the configuration has it.
func (g Grade) String() string { return string(g.word()) }

func (g Grade) word() convention.Grade {
	switch g {
	case Read:
		return convention.Read
	case Dangerous:
		return convention.Dangerous
	default:
		return convention.Operate
	}
}

// KeyError is a mistake in one key of a RuleSpec. Key is its path in the configuration, like "commands[0].topic".
type KeyError struct {
	Key string
	Err error
}

func (e *KeyError) Error() string { return e.Key + ": " + e.Err.Error() }
func (e *KeyError) Unwrap() error { return e.Err }

// Rule is a compiled RuleSpec. Safe for concurrent use.
type Rule struct {
	spec              RuleSpec
	pattern           topic.Pattern
	device, name      topic.Template
	room, space       topic.Template
	id, post          *template.Template // nil: none
	class             lane.Class
	commands          []*command
	alarms            []*ruleAlarm
	captures          []string
	hasName           bool
	hasRoom, hasSpace bool

	callPrefix, ringTopic, pictureTopic topic.Template // with spec.Call
	callTopics                          []topic.Filter // what the device says of calls
}

// command is a compiled CommandSpec.
type command struct {
	CommandSpec
	topic          topic.Template
	payload        *template.Template
	confirmTopic   topic.Template
	answers        topic.Filter       // covers confirmTopic whatever the captures
	confirmPayload *template.Template // nil: any
}

const defaultExpires = 30 * time.Second

// Compile checks spec. The error is every mistake (errors.Join), each a *KeyError.
func Compile(spec RuleSpec) (*Rule, error) {
	r := &Rule{spec: spec, class: spec.Class}
	var errs []error
	fail := func(key string, err error) {
		if err != nil {
			errs = append(errs, &KeyError{key, err})
		}
	}
	var err error
	if r.pattern, err = topic.ParsePattern(spec.Topic); err != nil {
		return nil, errors.Join(&KeyError{"topic", err}) // the captures are not known: nothing else can be judged
	}
	r.captures = r.pattern.Captures()
	words := func(key, src string) topic.Template {
		t, err := topic.ParseTemplate(src, r.captures)
		fail(key, err)
		return t
	}
	topics := func(key, src string) topic.Template {
		if src == "" {
			fail(key, errors.New("is needed"))
			return topic.Template{}
		}
		t, err := topic.ParseTopicTemplate(src, r.captures)
		fail(key, err)
		return t
	}
	jinja := func(key, src string) *template.Template {
		if src == "" {
			return nil
		}
		t, err := template.Compile(src)
		fail(key, err)
		return t
	}
	device := spec.Device
	if device == "" {
		switch {
		case slices.Contains(r.captures, "device"):
			device = "{device}"
		case len(r.captures) > 0:
			device = "{" + strings.Join(r.captures, "}-{") + "}"
		default:
			fail("device", errors.New(`is needed, because the topic has no {captures} to make one of`))
		}
	}
	r.device = words("device", device)
	r.name, r.hasName = words("name", spec.Name), spec.Name != ""
	r.room, r.hasRoom = words("room", spec.Room), spec.Room != ""
	r.space, r.hasSpace = words("space", spec.Space), spec.Space != ""
	r.id, r.post = jinja("id", spec.ID), jinja("post", spec.Post)
	if r.class == 0 {
		r.class = lane.Event
		if spec.Every > 0 {
			r.class = lane.Telemetry
		}
	}
	if spec.Every > 0 && r.class != lane.Telemetry {
		fail("every", errors.New("goes with class: telemetry"))
	}
	seen := map[string]bool{}
	for i, c := range spec.Commands {
		at := fmt.Sprintf("commands[%d].", i)
		if err := validCommandName(c.Name); err != nil {
			fail(at+"name", err)
		} else if seen[c.Name] {
			fail(at+"name", fmt.Errorf("%q is there twice", c.Name))
		}
		seen[c.Name] = true
		if c.QoS > 1 {
			fail(at+"qos", errors.New("is 0 or 1"))
		}
		if c.Grade == 0 {
			c.Grade = Operate
		}
		if c.Expires == 0 {
			c.Expires = defaultExpires
		}
		for j, why := range badArgs(c.Args, r.captures) {
			fail(fmt.Sprintf("%sargs[%d].name", at, j), why)
		}
		k := &command{CommandSpec: c, topic: topics(at+"topic", c.Topic)}
		if k.payload = jinja(at+"payload", c.Payload); k.payload == nil {
			k.payload, _ = template.Compile("")
		}
		if c.Confirm != nil {
			k.confirmTopic = topics(at+"confirm.topic", c.Confirm.Topic)
			k.answers = around(k.confirmTopic)
			k.confirmPayload = jinja(at+"confirm.payload", c.Confirm.Payload)
			if c.Confirm.Topic == c.Topic {
				fail(at+"confirm.topic", errors.New("is the command's own topic: our own message would confirm itself"))
			}
		}
		r.commands = append(r.commands, k)
	}
	for i, a := range spec.Alarms {
		r.alarms = append(r.alarms, compileAlarm(a, func(key string, err error) { fail(fmt.Sprintf("alarms[%d].%s", i, key), err) }))
	}
	if spec.Silence < 0 {
		fail("silence", errors.New("is not less than 0"))
	}
	if spec.Call != nil {
		if spec.Call.Prefix != "" {
			key := "call.mqtt"
			if spec.Call.Media.Libpeer {
				key = "call.libpeer"
			}
			r.callPrefix = topics(key, spec.Call.Prefix)
			out, err := topic.ParseTopicTemplate(spec.Call.Prefix+spec.Call.Media.out(), r.captures)
			fail(key, err)
			r.callTopics = append(r.callTopics, around(out))
		}
		if ring := spec.Call.Ring; ring != nil && ring.Topic != "" {
			r.ringTopic = topics("ring.topic", ring.Topic)
			r.callTopics = append(r.callTopics, around(r.ringTopic))
		}
		if spec.Call.Picture != "" {
			r.pictureTopic = topics("snapshot.topic", spec.Call.Picture)
			r.callTopics = append(r.callTopics, around(r.pictureTopic))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return r, nil
}

// around is a filter that covers what t can become. The zero Filter matches nothing.
func around(t topic.Template) topic.Filter {
	levels := strings.Split(t.String(), "/")
	for i, l := range levels {
		if strings.Contains(l, "{") {
			levels[i] = "+"
		}
	}
	f, _ := topic.ParseFilter(strings.Join(levels, "/")) // only a template that was refused already is none
	return f
}

func validCommandName(name string) error {
	if name == "" || len(name) > 32 {
		return errors.New("is 1 to 32 characters")
	}
	if strings.IndexFunc(name, func(r rune) bool { return r <= ' ' || r == '!' || r == '/' || r == 0x7f }) >= 0 {
		return fmt.Errorf("%q has a space, a \"!\" or a \"/\" in it", name)
	}
	if name == "help" {
		return errors.New(`"help" is gatepost's own`)
	}
	return nil
}

// badArgs says what is wrong with the names of arguments, by their place.
func badArgs(args []convention.Arg, captures []string) map[int]error {
	bad, seen := map[int]error{}, map[string]bool{"args": true, "device": true, "name": true, "transaction": true}
	for _, c := range captures {
		seen[c] = true
	}
	for i, g := range args {
		switch {
		case g.Name == "" || len(g.Name) > 32 || strings.Trim(g.Name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "":
			bad[i] = errors.New("is 1 to 32 of a-z, 0-9 and _")
		case seen[g.Name]:
			bad[i] = fmt.Errorf("%q is the name of something else that the payload knows", g.Name)
		}
		seen[g.Name] = true
	}
	return bad
}

// Rules is the configuration's list, in its order: the first rule whose topic matches has the message. Immutable.
type Rules struct {
	list    []*Rule
	byTopic map[string]*Rule // by identity
}

// NewRules makes the list. Two rules with one topic are an error.
func NewRules(list ...*Rule) (*Rules, error) {
	rs := &Rules{list: list, byTopic: map[string]*Rule{}}
	for i, r := range list {
		if rs.byTopic[r.spec.Topic] != nil {
			return nil, &KeyError{fmt.Sprintf("devices[%d].topic", i), fmt.Errorf("%q is the topic of another rule above; the first would take everything", r.spec.Topic)}
		}
		rs.byTopic[r.spec.Topic] = r
	}
	return rs, nil
}

// match finds the rule that has the topic, with its captures.
func (rs *Rules) match(name string) (*Rule, map[string]string) {
	for _, r := range rs.list {
		if c, ok := r.pattern.Match(name); ok {
			return r, c
		}
	}
	return nil, nil
}

// Filters lists what must be subscribed to: the topics of the rules and those of confirmations.
func (rs *Rules) Filters() []topic.Filter {
	var out []topic.Filter
	for _, r := range rs.list {
		out = append(append(out, r.pattern.Filter()), r.callTopics...)
		for _, c := range r.commands {
			if c.Confirm != nil {
				out = append(out, c.answers)
			}
		}
	}
	return topic.Cover(out)
}

// Wants says whether a message with this topic is for us.
func (rs *Rules) Wants(name string) bool {
	for _, r := range rs.list {
		if r.pattern.Matches(name) || slices.ContainsFunc(r.callTopics, func(f topic.Filter) bool { return f.Match(name) }) {
			return true
		}
		for _, c := range r.commands {
			if c.Confirm != nil && c.answers.Match(name) {
				return true
			}
		}
	}
	return false
}

// Warnings tells what is allowed but seldom meant.
func (rs *Rules) Warnings() []*KeyError {
	var out []*KeyError
	for i, r := range rs.list {
		for j, c := range r.commands {
			at := fmt.Sprintf("devices[%d].commands[%d].", i, j)
			if c.QoS == 1 {
				out = append(out, &KeyError{at + "qos", errors.New("with QoS 1 a broker may keep the command and deliver it after it expired; use it only for what may happen late")})
			}
			if c.Retain {
				out = append(out, &KeyError{at + "retain", errors.New("a retained command runs again whenever the device connects")})
			}
			for _, other := range rs.list {
				if other.pattern.Filter().Overlaps(around(c.topic)) {
					out = append(out, &KeyError{at + "topic", fmt.Errorf("the rule %q also takes what is published there", other.spec.Topic)})
					break
				}
			}
		}
	}
	return out
}

// subject is who and where a topic is about.
type subject struct {
	rule     *Rule
	captures map[string]string
	device   ids.DeviceID
	original string // the device's name before it became an id
	name     string
	room     ids.RoomKey
	roomName string
	space    string
}

// subject works out whom the captures are about. The error says which template gave nothing usable.
func (r *Rule) subject(captures map[string]string) (subject, error) {
	s := subject{rule: r, captures: captures}
	var err error
	if s.original, err = r.device.Expand(captures); err != nil {
		return s, fmt.Errorf("device: %w", err)
	}
	if s.device = ids.Device(s.original); s.device == "" {
		return s, errors.New("device: the topic gives an empty name")
	}
	s.name = s.original
	if r.hasName {
		if s.name, err = r.name.Expand(captures); err != nil {
			return s, fmt.Errorf("name: %w", err)
		}
	}
	s.room, s.roomName = ids.DeviceRoom(s.device), s.name
	if r.hasRoom {
		if s.roomName, err = r.room.Expand(captures); err != nil {
			return s, fmt.Errorf("room: %w", err)
		}
		s.room = ids.SharedRoom(s.roomName)
	}
	if r.hasSpace {
		if s.space, err = r.space.Expand(captures); err != nil {
			return s, fmt.Errorf("space: %w", err)
		}
	}
	for _, n := range []struct{ key, text string }{{"device", s.original}, {"name", s.name}, {"room", s.roomName}, {"space", s.space}} {
		if len(n.text) > maxName {
			return s, fmt.Errorf("%s: the topic gives a name of %d bytes; %d is the most", n.key, len(n.text), maxName)
		}
	}
	return s, nil
}

// maxName is how many bytes the name of a device, a room or a space may have.
const maxName = 255
