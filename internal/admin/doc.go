// Package admin is how a running gateway is watched and steered: health, readiness and metrics over HTTP, and a control
// socket that only the gateway's own user can open.
//
// A Server listens on a TCP address, a unix socket, or both. On the TCP address:
//
//	GET /healthz   200 while the process does its work, 503 when a part of it hangs; no token
//	GET /readyz    200 when messages pass both ways, 503 with the reasons when not; no token
//	GET /metrics   Prometheus text, with the token only: "Authorization: Bearer TOKEN"
//
// On the unix socket the same without a token, and the verbs: POST /v1/NAME with one JSON value as its body, answered by
// one JSON value or, for verbs made with HandleStream, by a stream of bytes. What goes wrong is {"error": text, "code":
// code} with a status of 400 or above; a stream that fails midway says so in its trailer, so that half a backup is never
// taken for a whole one. Client is the other end of the socket.
//
// Everything has a limit: connections, header and body sizes, and the time of reading, working and writing. The only
// promise about verbs that were cut short is that their context is cancelled; what they did until then stays done.
package admin
