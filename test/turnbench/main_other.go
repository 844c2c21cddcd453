//go:build !linux

// Command turnbench measures gatepost's TURN relay beside coturn and pion/turn; on Linux only.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "turnbench: Linux only")
	os.Exit(1)
}
