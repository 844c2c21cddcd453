// Package test holds the end-to-end tests: the built program, a real homeserver and simulated devices, looked at from
// outside. `make test` runs them against Dendrite, `make interop` against Synapse.
package test
