package topic

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxLength is the largest topic or filter in bytes: its length is sent as two bytes (MQTT 3.1.1 section 1.5.3).
const MaxLength = 65535

// ErrInvalid is what every error of ValidTopic, ParseFilter, ParsePattern, ParseTemplate and ExpandTopic wraps. The text
// says what is wrong and is made for whoever wrote the topic.
var ErrInvalid = errors.New("invalid topic")

// ValidTopic tells whether a message may be published to s (MQTT 3.1.1 section 4.7): 1 to 65535 bytes of UTF-8 without
// NUL and without the wildcards + and #. Empty levels, spaces and a leading "/" or "$" are legal.
func ValidTopic(s string) error {
	if err := validString(s); err != nil {
		return err
	}
	if i := strings.IndexAny(s, "+#"); i >= 0 {
		return invalid(s, fmt.Sprintf("a topic to publish to has no wildcards, this has %q", s[i]))
	}
	return nil
}

// validString checks what holds for topics and filters alike (sections 1.5.3 and 4.7.3).
func validString(s string) error {
	switch {
	case s == "":
		return invalid(s, "it is empty")
	case len(s) > MaxLength:
		return invalid(s, fmt.Sprintf("it has %d bytes, at most %d are possible", len(s), MaxLength))
	case !utf8.ValidString(s):
		return invalid(s, "it is not UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		return invalid(s, "it contains NUL")
	}
	return nil
}

// invalid makes the error for s; a long s is cut so that it fits a line.
func invalid(s, reason string) error {
	if len(s) > 120 {
		s = strings.ToValidUTF8(s[:117], "") + "..."
	}
	return fmt.Errorf("%w %q: %s", ErrInvalid, s, reason)
}

// cut splits off the first level of s; more tells whether a "/" followed it (rest may be empty then).
func cut(s string) (level, rest string, more bool) {
	if i := strings.IndexByte(s, '/'); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}
