package broker

import (
	"crypto/rand"
	"errors"
	"math"
	"strings"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/internal/logkey"
)

// receiveMaximum is how many QoS 2 messages of an MQTT 5 client may be on their way to us.
const receiveMaximum = 1024

// connect handles the CONNECT of c, the first packet. An error ends the connection; the client has its CONNACK then, if
// it understands one.
func (b *Broker) connect(c *conn, pk *packets.Packet) error {
	c.version = pk.ProtocolVersion
	if code := validateConnect(pk); code != packets.CodeSuccess {
		if c.version < 3 || c.version > 5 {
			c.version = 4
		}
		b.refuseConnect(c, pk, refusedProtocol, code)
		return errRefused
	}
	if err := c.accept(pk.Connect.Keepalive); err != nil {
		return err
	}
	assigned := ""
	if c.clientID = strings.Clone(pk.Connect.ClientIdentifier); c.clientID == "" {
		assigned = rand.Text()
		c.clientID = assigned
	}
	c.window, c.maxPacket, c.problems = sendWindow, pk.Properties.MaximumPacketSize, true
	if most := int(pk.Properties.ReceiveMaximum); most > 0 {
		c.window = min(c.window, most)
	}
	if pk.Properties.RequestProblemInfoFlag {
		c.problems = pk.Properties.RequestProblemInfo == 1
	}
	reason, code := b.admit(c, pk)
	present := false
	if reason == "" {
		c.id = sessionID(c.account, c.clientID)
		c.will = newWill(pk)
		if present, code = b.attach(c, pk); code != packets.CodeSuccess {
			reason = refusedSessions
		}
	}
	if reason != "" {
		b.refuseConnect(c, pk, reason, code)
		return errRefused
	}
	b.welcome(c, pk, present, assigned)
	return nil
}

// welcome sends the CONNACK, and lets the session's messages follow.
func (b *Broker) welcome(c *conn, pk *packets.Packet, present bool, assigned string) {
	out := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connack}, SessionPresent: present}
	if c.version == 5 {
		out.Properties.ReceiveMaximum = receiveMaximum
		out.Properties.MaximumPacketSize = uint32(b.cfg.MaxPayload + packetOverhead)
		out.Properties.AssignedClientID = assigned
		if seconds := uint32(c.expiry / time.Second); seconds != pk.Properties.SessionExpiryInterval {
			out.Properties.SessionExpiryInterval, out.Properties.SessionExpiryIntervalFlag = seconds, true
		}
	}
	c.send(&out)
	c.established.Store(true)
	c.open()
	b.stats.noteConnected(b.connected())
	b.log.Debug("client connected", logkey.Client, c.clientID, logkey.User, c.account.name(), logkey.Address, c.RemoteAddr().String())
	if b.isStopping() { // disconnectAll may have come too early for it
		b.disconnect(c, packets.ErrServerShuttingDown)
	} else if !b.current(c) { // the same with SetAccounts
		b.disconnect(c, packets.ErrNotAuthorized)
	}
}

// refuseConnect answers a CONNECT with no.
func (b *Broker) refuseConnect(c *conn, pk *packets.Packet, reason string, code packets.Code) {
	b.refused(reason, c.RemoteAddr().String(), string(pk.Connect.Username))
	if c.version < 5 {
		switch {
		case code == packets.ErrUnsupportedProtocolVersion, code == packets.ErrProtocolViolationProtocolVersion:
			code = packets.Err3UnsupportedProtocolVersion
		case code == packets.ErrClientIdentifierNotValid:
			code = packets.Err3ClientIdentifierNotValid
		case reason == refusedSessions || reason == refusedLoginBusy:
			code = packets.Err3ServerUnavailable
		default:
			code = packets.Err3NotAuthorized
		}
	}
	out := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connack}, ReasonCode: code.Code}
	if c.version == 5 {
		out.Properties.ReasonString = code.Reason
	}
	c.send(&out)
}

// validateConnect checks a CONNECT beyond its form.
func validateConnect(pk *packets.Packet) packets.Code {
	if pk.Connect.WillFlag && len(pk.Connect.WillPayload) == 0 && pk.Connect.WillTopic != "" {
		pk.Connect.WillPayload = []byte{0} // the library takes an empty one for none, but it is fine (MQTT 3.1.1 section 3.1.3.3)
		defer func() { pk.Connect.WillPayload = nil }()
	}
	if code := pk.ConnectValidate(); code != packets.CodeSuccess {
		return code
	}
	if pk.Connect.ClientIdentifier == "" && !pk.Connect.Clean && pk.ProtocolVersion < 5 {
		return packets.ErrClientIdentifierNotValid // MQTT 3.1.1 section 3.1.3.1
	}
	if strings.ContainsRune(pk.Connect.ClientIdentifier, 0) {
		return packets.ErrClientIdentifierNotValid
	}
	return packets.CodeSuccess
}

// disconnected handles a DISCONNECT of the client, which ends the connection.
func (b *Broker) disconnected(c *conn, pk *packets.Packet) error {
	if p := &pk.Properties; c.version == 5 && p.SessionExpiryIntervalFlag {
		if p.SessionExpiryInterval > 0 && !c.session.durable() {
			return packets.ErrProtocolViolationZeroNonZeroExpiry // MQTT 5 section 3.14.2.2.2
		}
		expiry := b.cfg.Limits.SessionExpiry
		if p.SessionExpiryInterval != math.MaxUint32 {
			expiry = min(expiry, time.Duration(p.SessionExpiryInterval)*time.Second)
		}
		c.session.mu.Lock()
		if c.session.conn.Load() == c {
			c.session.expiry = expiry
		}
		c.session.mu.Unlock()
	}
	if pk.ReasonCode == packets.CodeDisconnect.Code && c.will.take() {
		b.dropWill(c.id, c.will)
	}
	return errGoodbye
}

// errGoodbye is the end of a connection whose client has said so.
var errGoodbye = errors.New("the client said goodbye")
