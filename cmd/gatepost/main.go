// Command gatepost gives every MQTT device a place in Matrix. This package reads the command line and wires the parts
// together; what the parts do is in the packages below it.
package main

import "os"

// version is set by the linker: -X main.version=v1.2.3. Without it the build's own information is used.
var version string

func main() {
	os.Exit(run(os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
}
