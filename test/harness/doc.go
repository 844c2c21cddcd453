// Package harness runs the real programs that gatepost is tested with, on loopback and in a folder of their own: a
// homeserver, the built gatepost, and the Matrix client of a person who looks at the rooms. It knows gatepost only as its
// users do: by the binary, its configuration file and the wire.
//
// Everything returns errors rather than taking a testing.TB, so that the demo can use it too. Programs that a Process
// started never outlive the process that started them (on Linux not even when that is killed).
package harness
