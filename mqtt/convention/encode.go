package convention

import "time"

// Encoder is a Convention whose devices do not take text. What Command.Payload renders to goes through Encode before it is
// published; now is written into the message.
type Encoder interface {
	Convention
	// Encode makes the payload. The error says, in words for people, why the rendered text cannot be sent.
	Encode(rendered []byte, now time.Time) ([]byte, error)
}
