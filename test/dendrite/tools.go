//go:build tools

// Package dendrite names the commands of Dendrite, a Matrix homeserver in Go, that the tests and the demo run. It is a
// module of its own, so that nothing of Dendrite gets into gatepost's go.mod; the Makefile builds the commands into bin/.
//
// modernc.org/sqlite is newer than Dendrite asks for: with v1.34.5 a client that goes away in the middle of a request can
// leave a connection inside its transaction, and from then on the homeserver answers 500 until it is restarted.
package dendrite

import (
	_ "github.com/element-hq/dendrite/cmd/dendrite"
	_ "github.com/element-hq/dendrite/cmd/generate-keys"
)
