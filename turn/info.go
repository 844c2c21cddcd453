package turn

import (
	"net/netip"
	"time"
)

// EndReason says why an allocation ended.
type EndReason string

// The reasons, which are also the label of gatepost_turn_ended_total.
const (
	EndClient       EndReason = "client"       // the client gave it back: Refresh with lifetime 0
	EndExpired      EndReason = "expired"      // nobody refreshed it
	EndDisconnected EndReason = "disconnected" // its TCP or TLS connection ended
	EndKicked       EndReason = "kicked"       // Kick
	EndStopped      EndReason = "stopped"      // the server stopped
	EndFailed       EndReason = "failed"       // a relay socket failed
)

// Traffic counts what was relayed in one direction. Bytes are payload, without any header.
type Traffic struct {
	Packets uint64
	Bytes   uint64
}

// AllocationInfo is a picture of an allocation at one moment. It shares no memory with the allocation.
type AllocationInfo struct {
	ID          string // names it in Kick; not used again while the server runs
	User        string // of the credential, without its expiry
	Username    string // the whole user name, as the client sent it
	Client      netip.AddrPort
	Transport   string           // udp, tcp or tls
	Relayed     []netip.AddrPort // one, or one of each family
	Since       time.Time
	Expires     time.Time
	Permissions int
	Channels    int
	ToPeer      Traffic
	ToClient    Traffic
}

// Ended is an allocation's last picture.
type Ended struct {
	AllocationInfo
	Reason   EndReason
	Duration time.Duration
}
