// Package turn holds the tests that look at the TURN relay from outside: the built program, with nothing but a turn
// section, and the wire. Those with the build tag e2e need nothing but Go; those with interop bring other people's TURN
// clients and WebRTC stacks (coturn's turnutils_uclient, aiortc, Chromium) and put them behind NATs in network namespaces
// of their own, which needs root.
//
// With TURN_SERVER=coturn in the environment the tests with foreign clients run against coturn instead: that shows what the
// tests are worth.
package turn
