package convention

import "github.com/gatepost/gatepost/mqtt/topic"

// Convention is one way in which devices announce themselves. It holds nothing but its prefix. Safe for concurrent use.
type Convention interface {
	// Name is what the configuration calls it, such as "homeassistant".
	Name() string
	// Filters lists what to subscribe to so that Step sees all it needs. Readings may name more topics: see Source.
	Filters() []topic.Filter
	// Key says to whose State a message belongs: a device, an edge node, a topic of announcements. "" for a message that this
	// convention does not care about; Step is not called for it.
	Key(topic string) string
	// Step decodes one message. s is what Step returned for the last message with the same Key, nil at first; it is not
	// changed or kept. What is returned may be s itself. The facts may share memory with m.Payload. Step never fails: what
	// it cannot read it leaves out or refuses.
	Step(s State, m topic.Message) (State, []Fact)
}

// State is what a Convention remembers between the messages of one Key, encoded by the convention. nil is the beginning and,
// returned, the end: nothing needs to be remembered. At most MaxState bytes. Its user stores it and never looks inside. One
// that cannot be read (of an older version, damaged) counts as nil.
type State []byte
