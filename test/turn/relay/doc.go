// Package relay runs TURN servers for the tests and the load: gatepost, and those it is compared with, set up alike. Each
// has a folder of its own for what it reads and writes, runs until Stop, and dies with the process that started it.
package relay
