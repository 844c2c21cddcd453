// Package voip is the call: who may talk to whom, and what is said to make it so. It is pure: no clock, no goroutine, no
// network, no random source. Times and ids are given in, and what must happen comes out as effects.
//
//	Desk   the calls of one device: admission, busy, glare, early candidates
//	Call   one call with one person, from the invitation to its end
//	Ring   a device that rings several people, in turn or all at once
//	Keys   digits on the dial pad and what they ask for
//
// Each has Step, which takes an event and returns effects. Whoever runs it keeps the new state (Call.Record) before it
// performs them, so that a gateway that starts again knows which calls to hang up. A Desk and what belongs to it is owned
// by one goroutine.
//
// The words are those of the VoIP module of the Matrix specification (v1.19), version "1" of its events; peers of version
// "0" are understood. The events are neutral: voip/legacy turns m.call.* into them and back, and another adapter may do
// the same for MatrixRTC. The other side of a call is a leg: a device that speaks for itself, or media that the gateway
// terminates.
//
// Promises, held by a model test: every call ends by itself whatever comes or does not come; after its end it does nothing;
// nothing is sent to a leg before it was asked or after it was closed; candidates never precede the answer they belong to.
package voip
