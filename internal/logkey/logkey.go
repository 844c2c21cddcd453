// Package logkey holds the keys of structured log lines, so that one thing has one name everywhere. Messages are static
// text; what varies is a value under one of these keys. Secrets and payloads are never logged.
package logkey

// The keys. Values are plain strings and numbers.
const (
	Address = "address"
	Attempt = "attempt"
	Bytes   = "bytes"
	Client  = "client"
	Code    = "code"
	Command = "command"
	Count   = "count"
	Device  = "device"
	Error   = "error"
	Event   = "event"
	File    = "file"
	ID      = "id"
	Lane    = "lane"
	Mode    = "mode"
	Name    = "name"
	Part    = "part"
	QoS     = "qos"
	Reason  = "reason"
	Room    = "room"
	Rule    = "rule"
	State   = "state"
	Step    = "step"
	Took    = "took"
	Topic   = "topic"
	Type    = "type"
	URL     = "url"
	User    = "user"
	Version = "version"
	Wait    = "wait"
)
