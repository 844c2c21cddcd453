// Package fault holds the tests that break things on purpose: the real gatepost is killed, its homeserver and its broker
// go away, its disk fills up, its file is damaged. What is counted afterwards is read back from the homeserver as a
// person would, never from gatepost itself.
//
// The tests of the embedded broker (TestBroker...) run gatepost as a broker only. Its clients there are mosquitto's, paho-mqtt
// and, where acknowledgements are to be held back, raw ones of test/device.
//
// The tests have the build tag fault and take about half an hour; `make fault` runs them and docs/bench/fault.md says how
// to scale them down. Each prints its figures one a line, tab-separated: figure, name, value, unit, what it must be, ok or
// miss.
package fault
