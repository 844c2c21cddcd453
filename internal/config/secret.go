package config

import (
	"fmt"
	"log/slog"
)

const masked = "***"

// Secret is a password, token or key. It shows itself as "***" in every format, log line and JSON; only Reveal gives the
// text. The zero value is "none".
type Secret struct {
	text *string // behind a pointer: a struct printed by reflection shows an address
	file string  // where it was read from; "" when it was given directly
}

// NewSecret makes a Secret of text. The empty text is no secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// Reveal is the text itself. It goes to whom it is meant for, never to a log or an error.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero says that there is none.
func (s Secret) IsZero() bool { return s.text == nil }

func (s Secret) show() string {
	if s.IsZero() {
		return ""
	}
	return masked
}

func (s Secret) String() string   { return s.show() }
func (s Secret) GoString() string { return s.show() }

// Format writes the mask whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.show())) }

// LogValue is the mask.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.show()) }

// MarshalText is the mask, also in JSON.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.show()), nil }
