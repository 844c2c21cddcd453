package gateway

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/media"
	"github.com/gatepost/gatepost/internal/template"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// Most runes of one posted text.
const maxText = 4000

// post says what is to be posted of m, if anything, and remembers the reading in d. Apart from d it is pure.
// The id of the record is given; r.At is m.Time.
func (d *Device) post(s subject, m topic.Message, id string) (r lane.Record, ok bool) {
	rule := s.rule
	old, known := d.Readings[m.Topic]
	if m.Retained && len(m.Payload) == 0 {
		delete(d.Readings, m.Topic)
		return lane.Record{}, false
	}
	now := Reading{Value: shorten(m.Payload), At: m.Time, Slot: old.Slot}
	same := known && old.Value == now.Value
	r = lane.Record{Lane: s.room, ID: id, Device: d.ID, Class: rule.class, Topic: m.Topic, At: m.Time}
	switch {
	case m.Retained && (rule.class != lane.State || same):
		ok = false // an old value is not news
	case rule.class == lane.State:
		ok = !same
		r.Key = m.Topic
	case rule.class == lane.Telemetry:
		ok = true
		r.Key = m.Topic
		now.Slot = old.slot(m.Time, rule.spec.Every)
		if now.Slot.After(m.Time) {
			r.NotBefore = now.Slot
		}
	default:
		ok = true
	}
	d.remember(m.Topic, now)
	d.Seen = m.Time
	if !ok {
		return lane.Record{}, false
	}
	if rule.class == lane.Event && rule.spec.Expires > 0 {
		r.Expires = m.Time.Add(rule.spec.Expires)
	}
	r.Post = render(s, m)
	if rule.class == lane.Telemetry {
		if n, err := strconv.ParseFloat(strings.TrimSpace(string(m.Payload[:min(len(m.Payload), 64)])), 64); err == nil && n-n == 0 {
			r.Digest = &lane.Digest{N: 1, Min: n, Max: n, Sum: n, Since: m.Time}
		}
	}
	return r, true
}

// vars are what a template sees of a message.
func vars(s subject, m topic.Message) map[string]any {
	v := make(map[string]any, len(s.captures)+4)
	for k, c := range s.captures {
		v[k] = c
	}
	v["topic"], v["device"], v["name"] = m.Topic, string(s.device), s.name
	v["value"] = template.LazyText(m.Payload)
	v["value_json"] = template.LazyJSON(m.Payload)
	return v
}

// label is what people call the reading: the capture {reading} where there is one, else the topic's last level.
func label(s subject, name string) string {
	if l := s.captures["reading"]; l != "" {
		return l
	}
	return name[strings.LastIndexByte(name, '/')+1:]
}

// render makes the post of a message: by the rule's template, or by what the payload is.
func render(s subject, m topic.Message) lane.Post {
	kind := lane.Notice
	if s.rule.class >= lane.Event {
		kind = lane.Text
	}
	k := media.KindOf(m.Payload)
	if k.IsMedia() && s.rule.post == nil {
		return mediaPost(s, m)
	}
	var note string
	if s.rule.post != nil {
		text, err := s.rule.post.Render(vars(s, m))
		if err == nil {
			clean, _ := media.Text([]byte(text), maxText)
			return lane.Post{Kind: kind, Text: clean, Values: scalar(s, m, k)}
		}
		note = fmt.Sprintf(" (the rule's post: %v)", err)
		if k.IsMedia() {
			return mediaPost(s, m)
		}
	}
	name, _ := media.Text([]byte(label(s, m.Topic)), 200)
	p := lane.Post{Kind: kind}
	switch k {
	case media.JSONObject:
		o, err := media.Object(m.Payload)
		if err != nil { // it began like one
			return plain(p, name, m.Payload, note)
		}
		p.Text, p.HTML, p.Values = name+"\n"+o.Text, "<strong>"+media.EscapeHTML(name)+"</strong>"+o.HTML, o.Values
		if note != "" {
			p.Text, p.HTML = p.Text+note, p.HTML+media.EscapeHTML(note)
		}
		return p
	case media.Empty:
		p.Text = name + ": (empty)" + note
		return p
	default:
		p = plain(p, name, m.Payload, note)
		p.Values = scalar(s, m, k)
		return p
	}
}

func plain(p lane.Post, name string, payload []byte, note string) lane.Post {
	text, _ := media.Text(payload, maxText)
	p.Text = name + ": " + text + note
	p.HTML = "<strong>" + media.EscapeHTML(name) + "</strong> " + strings.ReplaceAll(media.EscapeHTML(text), "\n", "<br>") + media.EscapeHTML(note)
	return p
}

// scalar is the value of a small payload for machines that read the room.
func scalar(s subject, m topic.Message, k media.Kind) map[string]string {
	if k != media.Number && k != media.Boolean && k != media.PlainText || len(m.Payload) > maxReading {
		return nil
	}
	name, _ := media.Text([]byte(label(s, m.Topic)), 200)
	value, _ := media.Text(m.Payload, maxReading)
	return map[string]string{name: value}
}

// mediaPost posts the payload as a file, as a picture where it is one.
func mediaPost(s subject, m topic.Message) lane.Post {
	name, _ := media.Text([]byte(label(s, m.Topic)), 100)
	return filePost(name, m.Payload)
}

// filePost posts data as a file, as a picture where it is one. name is clean.
func filePost(name string, data []byte) lane.Post {
	p := lane.Post{Kind: lane.Media, MIME: "application/octet-stream", Name: name + ".bin", Data: data}
	info, err := media.Inspect(data)
	if err == nil {
		p.MIME, p.Width, p.Height = info.MIME, info.Width, info.Height
		p.Name = name + info.Ext
		if stripped, err := media.Strip(data, info.MIME); err == nil {
			p.Data = stripped
		} else {
			p.MIME, p.Name = "application/octet-stream", name+".bin" // not what it says it is: nothing shows it
		}
	}
	p.Text = p.Name
	return p
}

// sumUp adds what a digest says to the text of the newest message.
func sumUp(p lane.Post, d *lane.Digest) lane.Post {
	if d == nil || d.N < 2 {
		return p
	}
	s := fmt.Sprintf(" (the latest of %s)", count(d.N, "message"))
	if mean, ok := d.Mean(); ok {
		low, high := number(d.Min), number(d.Max)
		mean = rounded(mean, max(decimals(low), decimals(high))+1)
		s = fmt.Sprintf(" (%s: min %s, mean %s, max %s)", count(d.Numbers(), "value"), low, number(mean), high)
	}
	p.Text += s
	if p.HTML != "" {
		p.HTML += s
	}
	return p
}

// number prints at most 6 significant digits and no exponent for what people measure.
func number(f float64) string {
	s := strconv.FormatFloat(f, 'g', 6, 64)
	if strings.ContainsAny(s, "e") && f > -1e15 && f < 1e15 {
		s = strconv.FormatFloat(f, 'f', -1, 64)
	}
	return s
}

// decimals is how many digits a printed number has after the point.
func decimals(s string) int {
	_, after, _ := strings.Cut(s, ".")
	return len(after)
}

// rounded is f with so many digits after the point. What is too large to have any is left as it is.
func rounded(f float64, digits int) float64 {
	if math.Abs(f) >= 1e15 {
		return f
	}
	scale := math.Pow10(digits)
	return math.Round(f*scale) / scale
}

// gapPost is what people read where messages were dropped.
func gapPost(g *lane.Gap, zone *time.Location) lane.Post {
	total := 0
	var parts []string
	for _, c := range []lane.Class{lane.Alarm, lane.Event, lane.State, lane.Telemetry} {
		if n := g.Dropped[c]; n > 0 {
			total += n
			parts = append(parts, fmt.Sprintf("%d %s", n, c))
		}
	}
	s := fmt.Sprintf("⚠ %s left out here, from %s to %s (%s", count(total, "message"), g.From.In(zone).Format("Jan 2 15:04:05"), g.To.In(zone).Format("Jan 2 15:04:05"), strings.Join(parts, ", "))
	if g.Expired > 0 {
		s += fmt.Sprintf("; %d too old to be sent", g.Expired)
	}
	return lane.Post{Kind: lane.Notice, Text: s + "): they could not be sent in time."}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
