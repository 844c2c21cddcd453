//go:build tools

// Package dendrite names the commands of Dendrite, a Matrix homeserver in Go, that the tests and the demo run. It is a
// module of its own, so that nothing of Dendrite gets into gatepost's go.mod; the Makefile builds the commands into bin/.
package dendrite

import (
	_ "github.com/element-hq/dendrite/cmd/dendrite"
	_ "github.com/element-hq/dendrite/cmd/generate-keys"
)
