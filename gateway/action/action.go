package action

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/template"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// Action is one thing that a device can be asked to do. It is not changed once it is made, and safe for concurrent use.
type Action struct {
	Name   string // as it is stored; Words is how people know it
	Label  string // for people, where Name does not say it; "" none
	Args   []convention.Arg
	Free   bool // whatever stands behind the name is one text, the template's args; then there are no Args
	Grade  convention.Grade
	People []ids.UserID // only these may ask, of those who have the power; empty: all of them

	Topic   string
	Payload *template.Template
	Vars    map[string]any // what Payload knows besides arguments and transaction; may be nil
	// Encode makes what is published of what Payload renders; nil: that itself.
	Encode  func(rendered []byte, now time.Time) ([]byte, error)
	QoS     byte
	Retain  bool
	Repeat  bool          // may be published again when nobody knows whether it was
	Expires time.Duration // not published when older; and so long the proof is waited for
	Confirm *Confirm      // nil: that it was published is all one can know
}

// Confirm says what proves that an action was done: exactly one of Reading, Topic and Answer is set.
type Confirm struct {
	Reading string
	Topic   string
	Answer  bool               // a convention.Answer with the transaction
	Value   *template.Template // what the reading, or the payload of Topic, then is; nil: anything
	// Judge is rendered over value and value_json of a message on Topic, the arguments and transaction: true, false (it
	// failed) or nothing (not about us). nil: Value counts.
	Judge *template.Template
}

// Expires of an announced action.
const announcedExpires = 30 * time.Second

// Announced makes the action of what a device announced. by is the convention through which it did.
func Announced(c *convention.DeviceCommand, by convention.Convention) (*Action, error) {
	a := &Action{Name: c.Name, Label: c.Label, Args: c.Args, Grade: c.Grade, Topic: c.Topic, QoS: c.QoS, Retain: c.Retain, Expires: announcedExpires}
	if a.Grade == "" {
		a.Grade = convention.Operate
	}
	if err := topic.ValidTopic(c.Topic); err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	if e, ok := by.(convention.Encoder); ok {
		a.Encode = e.Encode
	}
	var err error
	if a.Payload, err = template.Compile(c.Payload); err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if c.Confirm == nil {
		return a, nil
	}
	a.Confirm = &Confirm{Reading: c.Confirm.Reading, Topic: c.Confirm.Topic, Answer: c.Confirm.Answer}
	if c.Confirm.Value != "" {
		if a.Confirm.Value, err = template.Compile(c.Confirm.Value); err != nil {
			return nil, fmt.Errorf("confirm: %w", err)
		}
	}
	if c.Confirm.Topic != "" {
		if a.Confirm.Judge, err = template.Compile(c.Confirm.Template); err != nil {
			return nil, fmt.Errorf("confirm: %w", err)
		}
	}
	return a, nil
}

// Bare says whether the action needs nothing behind its name.
func (a *Action) Bare() bool {
	if a.Free {
		return a.Payload == nil || !strings.Contains(a.Payload.String(), "args")
	}
	return !slices.ContainsFunc(a.Args, func(g convention.Arg) bool { return !g.Optional })
}

// Words is the name as people say it: "set target" for set_target.
func (a *Action) Words() string { return strings.ReplaceAll(a.Name, "_", " ") }

// Values are the checked arguments: numbers are int64 or float64, all else is string. One left out is not in it.
type Values map[string]any

// Order is what an action becomes when somebody asks for it.
type Order struct {
	Topic   string
	Payload []byte
	Args    string // as may be shown and kept: what is secret is covered
	Secret  bool   // Payload and Proof hold what must not be kept
	Proof   *Proof // nil: none
}

// Proof is what proves that an order was carried out.
type Proof struct {
	Reading  string
	Topic    string
	Answer   string // the transaction
	Text     string // what reading or payload is then, without white space around; unless Any or Template
	Any      bool
	Template string // Confirm.Judge
	Vars     map[string]any
}

// Order parses what somebody typed behind the name of the action and fills everything in. transaction is new for each
// order, of [a-z0-9]{1,32}. The error is a sentence for people.
func (a *Action) Order(typed, transaction string, now time.Time) (Order, error) {
	values, err := a.parse(typed)
	if err != nil {
		return Order{}, err
	}
	vars := make(map[string]any, len(a.Vars)+len(values)+2)
	maps.Copy(vars, a.Vars)
	maps.Copy(vars, values)
	vars["transaction"] = transaction
	if a.Free || a.Vars != nil {
		vars["args"] = typed
	}
	o := Order{Topic: a.Topic, Args: typed}
	if o.Secret = a.secret(values); o.Secret {
		o.Args = a.covered(values)
	}
	fail := func(err error) (Order, error) {
		if o.Secret {
			err = errors.New("its template cannot take that") // the error may say what must not be said
		}
		return Order{}, fmt.Errorf("“%s” can't be sent: %w", a.Words(), err)
	}
	text, err := a.Payload.Render(vars)
	if err != nil {
		return fail(err)
	}
	o.Payload = []byte(text)
	if a.Encode != nil {
		if o.Payload, err = a.Encode(o.Payload, now); err != nil {
			return fail(err)
		}
	}
	if a.Confirm == nil {
		return o, nil
	}
	p := &Proof{Reading: a.Confirm.Reading, Topic: a.Confirm.Topic}
	switch {
	case a.Confirm.Answer:
		p.Answer = transaction
	case a.Confirm.Judge != nil:
		p.Template, p.Vars = a.Confirm.Judge.String(), values
		if p.Vars == nil {
			p.Vars = map[string]any{}
		}
		p.Vars["transaction"] = transaction
	case a.Confirm.Value == nil:
		p.Any = true
	default:
		if text, err = a.Confirm.Value.Render(vars); err != nil {
			return fail(err)
		}
		p.Text = strings.TrimSpace(text)
	}
	o.Proof = p
	return o, nil
}

// secret says whether one of the values is not to be shown.
func (a *Action) secret(values Values) bool {
	return slices.ContainsFunc(a.Args, func(g convention.Arg) bool { return g.Secret && values[g.Name] != nil })
}

// covered is the arguments with what is secret left out.
func (a *Action) covered(values Values) string {
	var out []string
	for _, g := range a.Args {
		switch v, ok := values[g.Name]; {
		case !ok:
		case g.Secret:
			out = append(out, g.Name+"=•••")
		default:
			out = append(out, fmt.Sprintf("%s=%v", g.Name, v))
		}
	}
	return strings.Join(out, " ")
}

// Judge says what a message on the topic of the proof means: done, failed, or neither.
func (p *Proof) Judge(payload []byte) (done, failed bool) {
	if p.Template == "" {
		return p.Any || strings.TrimSpace(string(payload)) == p.Text, false
	}
	t, err := template.Compile(p.Template)
	if err != nil {
		return false, false
	}
	vars := maps.Clone(p.Vars)
	if vars == nil {
		vars = map[string]any{}
	}
	vars["value"], vars["value_json"] = template.LazyText(payload), template.LazyJSON(payload)
	text, err := t.Render(vars)
	if err != nil {
		return false, false
	}
	switch strings.ToLower(strings.TrimSpace(text)) {
	case "true":
		return true, false
	case "false":
		return false, true
	}
	return false, false
}

// Shows says whether a reading that has the value text is what was waited for. Numbers compare as numbers.
func (p *Proof) Shows(text string) bool {
	if p.Any || text == p.Text {
		return true
	}
	a, errA := strconv.ParseFloat(text, 64)
	b, errB := strconv.ParseFloat(p.Text, 64)
	return errA == nil && errB == nil && a == b && utf8.ValidString(text)
}
