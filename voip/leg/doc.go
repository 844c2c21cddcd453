// Package leg is the device's side of a call.
//
// Signals is for devices that have a WebRTC stack of their own: it says over MQTT, in JSON, what the person's client says in
// Matrix, and back. It touches no media. The protocol is docs/signalling-over-mqtt.md.
package leg
