// Package topic holds the words of MQTT that every part shares, all of it pure: a message, topic filters, and the
// patterns with {captures} by which rules read and write topics (MQTT 3.1.1 section 4.7).
package topic

import "time"

// Message is one application message as it was delivered to gatepost, by the embedded broker or by an outside one.
type Message struct {
	Topic    string
	Payload  []byte // the receiver's own from delivery on; never changed by anybody after that
	QoS      byte   // 0, 1 or 2, as delivered
	Retained bool   // the retain flag as a subscriber sees it: an old value, not news
	Dup      bool   // the DUP flag of the PUBLISH
	PacketID uint16 // 0 with QoS 0
	// Client says whose session PacketID belongs to: on the embedded broker the publishing client (account and client
	// id), with an outside broker "", our own session.
	Client string
	Time   time.Time // when it reached us
}
