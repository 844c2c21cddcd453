package turn

import "github.com/gatepost/gatepost/internal/metrics"

// Directions of relayed packets: the label of packets and bytes.
const (
	toPeer   = "to_peer"
	toClient = "to_client"
)

// Why something was dropped without an answer: the label of dropped.
const (
	dropMalformed    = "malformed"     // neither STUN nor ChannelData, or damaged
	dropNoAllocation = "no_allocation" // data on a 5-tuple without one
	dropNoChannel    = "no_channel"    // ChannelData on a number that is not bound
	dropNoPermission = "no_permission" // data to or from a peer without one
	dropPeer         = "peer_refused"  // data to or from a peer that the policy refuses
	dropRate         = "rate"          // more bytes per second than the user may
	dropLimited      = "limited"       // the answer to a stranger, above the limits
	dropAmplifies    = "amplifies"     // the answer to a stranger would be too long for its request
	dropSlowClient   = "slow_client"   // a TCP client that does not read
	dropSend         = "send_failed"   // the system did not take it
)

// Why a request or a connection was refused: the label of refused.
const (
	refusedPeer        = "peer"
	refusedUserQuota   = "user_quota"
	refusedTotalQuota  = "total_quota"
	refusedPorts       = "ports"
	refusedDraining    = "draining"
	refusedConnections = "connections"
	refusedAddress     = "address" // connections of one IP
)

// Why an authentication failed: the label of authFailures. A first request, which has no credentials, is none.
const (
	authUser     = "unknown_user"
	authPassword = "wrong_password"
	authExpired  = "expired"
	authNonce    = "stale_nonce"
	authThief    = "other_user" // the allocation is another user's
)

type turnMetrics struct {
	requests     *metrics.Counter // method, result
	packets      *metrics.Counter // direction
	bytes        *metrics.Counter // direction
	dropped      *metrics.Counter // reason
	refused      *metrics.Counter // reason
	authFailures *metrics.Counter // reason
	ended        *metrics.Counter // reason
}

func newMetrics(reg *metrics.Registry, allocations, connections func() float64) turnMetrics {
	reg.GaugeFunc("gatepost_turn_allocations", "Allocations that live.", allocations)
	reg.GaugeFunc("gatepost_turn_connections", "TCP and TLS connections of clients.", connections)
	return turnMetrics{
		requests:     reg.Counter("gatepost_turn_requests_total", "Requests answered, by method and result: ok or the error code.", "method", "result"),
		packets:      reg.Counter("gatepost_turn_relayed_packets_total", "Packets relayed.", "direction"),
		bytes:        reg.Counter("gatepost_turn_relayed_bytes_total", "Payload bytes relayed.", "direction"),
		dropped:      reg.Counter("gatepost_turn_dropped_total", "Packets and messages dropped without an answer, by reason.", "reason"),
		refused:      reg.Counter("gatepost_turn_refused_total", "Requests and connections refused, by reason.", "reason"),
		authFailures: reg.Counter("gatepost_turn_auth_failures_total", "Requests with credentials that were refused, by reason.", "reason"),
		ended:        reg.Counter("gatepost_turn_ended_total", "Allocations that ended, by reason.", "reason"),
	}
}
