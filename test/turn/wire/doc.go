// Package wire speaks STUN and TURN (RFC 8489, RFC 8656) by hand, for the tests and the load that look at a relay from
// outside. It builds messages that no library would send as readily as proper ones, shares no code with the relay, and
// does no more than a test asks for: nothing is retransmitted or refreshed behind the caller's back.
package wire
