// Package sas is the comparison of emoji by which the gateway's Matrix device and a person's device make sure of each other's
// keys: key verification with m.sas.v1, of the Client-Server API ("Key verification framework", "Short Authentication String").
//
// A Flow is a pure machine on the answering side: somebody asks, we are ready, they start, keys are exchanged, both sides look
// at the same seven emoji, and each says over a MAC which keys it has. The gateway never asks and never starts, so two sides
// cannot start at once. A Flow has no clock, network or memory beyond itself; what must be sent comes back as Messages. What is
// read is hostile: all of it is checked and bounded, and anything unexpected ends the flow with the code that the standard gives.
//
// Only curve25519-hkdf-sha256, sha256 and hkdf-hmac-sha256.v2 are spoken, as the standard asks of everybody; the older MAC,
// which was broken, is refused.
package sas
