// Package calls holds the tests of calls in which neither far side is ours: the person's client is matrix-js-sdk in Chromium
// (page/phone.js), the device is the example in examples/intercom-python, made of aiortc. Between them are the built gatepost and
// a real homeserver. Sound is judged by its frequency, pictures by their colours. Build tag interop; `make interop-calls`
// installs what is needed.
package calls
