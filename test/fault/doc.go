// Package fault holds the tests that break things on purpose: the real gatepost is killed, its homeserver and its broker
// go away, its disk fills up, its file is damaged. What is counted afterwards is read back from the homeserver as a
// person would, never from gatepost itself.
//
// The tests have the build tag fault and take about half an hour; `make fault` runs them and docs/bench/fault.md says how
// to scale them down. Each prints its figures one a line, tab-separated: figure, name, value, unit, what it must be, ok or
// miss.
package fault
