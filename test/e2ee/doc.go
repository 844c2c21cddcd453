// Package e2ee is a person whose client encrypts: the state machine of Matrix's own clients (matrix-sdk-crypto), which nobody
// here wrote, run by Node in a process of its own and driven by lines of JSON. The tests beside it hold gatepost's encryption
// against it; other tests and the fault suite use it as the other side of a room.
//
// The program is in client/ and is installed by make (bin/e2ee/installed), which needs Node 20 and npm.
package e2ee
