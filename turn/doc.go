// Package turn is a TURN server (RFC 8656 on RFC 8489) over UDP, TCP and TLS, for IPv4 and IPv6. It relays media for peers
// behind NAT and is usable alone: of our own packages it imports only internal/metrics and internal/logkey.
//
// What it promises:
//
//   - Nobody reaches through it what they could not reach from the Internet: peers in private, special and the host's own
//     ranges are refused on every CreatePermission, ChannelBind and Send, in whatever form the address is written
//     (policy). Config.AllowPeers opens ranges.
//   - It is no amplifier: what answers an unauthenticated request is at most 4 times as long and at most 120 bytes, and is
//     rare (limiter).
//   - Each user and all users together are bounded in allocations, permissions and channels, each user also in bytes per
//     second (quotas).
//   - A credential's expiry is looked at by Allocate only: a call outlives its credential.
//   - Mobility (RFC 8016) and TCP relaying (RFC 6062) are not served.
//
// # How it is put together
//
// handle is the control plane and pure: a request, the table of allocations, the clock and what the server shares go in;
// the bytes of an answer and what the edge must do (bind a relay port, close an allocation, send to a peer) come out. It
// does no I/O and starts nothing.
//
// The edge (server, tcp, path) owns sockets and goroutines. It is made of share-nothing workers: a table, its allocations
// and their sockets belong to one worker, and nothing of them is touched by another goroutine. Shared are the policy and
// the byte buckets, which are read without locks on the packet path, and quotas, ports, limiter and credentials, which are
// leaves behind one mutex each, touched by requests only.
package turn
