package convention

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// captured is a line of a capture as JSON.
type captured struct {
	Topic   *string         `json:"topic"`
	Payload json.RawMessage `json:"payload"`        // text, or any other JSON, which then is the payload as it is written
	Base64  []byte          `json:"payload_base64"` // instead of payload
	Retain  any             `json:"retain"`         // true, false, 1 or 0
	Time    string          `json:"time"`           // RFC 3339; "" unknown
	Stamp   string          `json:"tst"`            // what mosquitto_sub -F %j calls it
}

// ReadCapture reads messages that somebody has recorded, one a line, and gives each to take. A line is a JSON object
//
//	{"topic": "a/b", "payload": "21.5", "retain": true, "time": "2026-01-02T15:04:05Z"}
//
// with payload_base64 in place of payload for what is no text, and everything but topic optional (mosquitto_sub -F %j prints
// such lines too); or the topic, a space and the payload, as mosquitto_sub -v prints it, where a payload has no line breaks and
// a topic has spaces only if the payload is a JSON object or list. Empty lines do not count. A line may have MaxInventory bytes twice over. It stops at the first
// error; those of its own name the line.
func ReadCapture(r io.Reader, take func(topic.Message) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 2*MaxInventory)
	n := 0
	for lines.Scan() {
		n++
		line := bytes.TrimRight(lines.Bytes(), "\r")
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		m, err := captureLine(line)
		if err == nil {
			err = topic.ValidTopic(m.Topic)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := take(m); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", n+1, err)
	}
	return nil
}

func plainLine(line string) topic.Message {
	for _, start := range []string{" {", " ["} {
		if i := strings.Index(line, start); i >= 0 && json.Valid([]byte(line[i+1:])) {
			return topic.Message{Topic: line[:i], Payload: []byte(line[i+1:])}
		}
	}
	name, payload, _ := strings.Cut(line, " ")
	return topic.Message{Topic: name, Payload: []byte(payload)}
}

func captureLine(line []byte) (topic.Message, error) {
	if line[0] != '{' {
		return plainLine(string(line)), nil
	}
	var c captured
	if err := json.Unmarshal(line, &c); err != nil {
		return topic.Message{}, fmt.Errorf("not a message as JSON: %w", err)
	}
	if c.Topic == nil {
		return topic.Message{}, errors.New("the topic is missing")
	}
	m := topic.Message{Topic: *c.Topic, Payload: c.Base64, Retained: c.Retain == true || c.Retain == 1.0}
	if c.Payload != nil {
		if c.Base64 != nil {
			return topic.Message{}, errors.New("it has both payload and payload_base64")
		}
		m.Payload = []byte(c.Payload)
		var text string
		if json.Unmarshal(c.Payload, &text) == nil {
			m.Payload = []byte(text)
		}
	}
	when := c.Time
	if when == "" {
		when = c.Stamp
	}
	if when != "" {
		at, err := time.Parse(time.RFC3339, when)
		if err != nil { // as mosquitto_sub has it: 2026-01-02T15:04:05.000000Z+0000
			at, err = time.Parse("2006-01-02T15:04:05-0700", strings.Replace(when, "Z", "", 1))
		}
		if err != nil {
			return topic.Message{}, fmt.Errorf("time: %q is not like 2026-01-02T15:04:05Z", when)
		}
		m.Time = at
	}
	return m, nil
}
