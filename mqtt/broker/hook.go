package broker

import (
	"bytes"
	"cmp"
	"slices"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// hook is what the library calls. All but OnPacketEncode, OnACLCheck, OnPublishDropped and OnClientExpired run in the
// reader of the client they are about.
type hook struct {
	mqtt.HookBase
	b *Broker
}

// firstOrder is above every Unix time, which the library gives to messages that did not pass OnPublish.
const firstOrder = 1 << 40

// forbidden takes the place of a topic that nobody may publish to; NUL cannot come from a client.
const forbidden = "\x00"

func (h *hook) ID() string { return "gatepost" }

func (h *hook) Provides(b byte) bool {
	return bytes.IndexByte([]byte{
		mqtt.OnConnect, mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished,
		mqtt.OnDisconnect, mqtt.OnPacketRead, mqtt.OnPacketEncode, mqtt.OnPacketProcessed, mqtt.OnSubscribe, mqtt.OnPublish,
		mqtt.OnPublishDropped, mqtt.OnClientExpired, mqtt.OnSubscribed, mqtt.OnRetainPublished,
	}, b) >= 0
}

// OnConnect decides about a CONNECT. An error ends the connection; the client has its CONNACK then.
func (h *hook) OnConnect(cl *mqtt.Client, pk packets.Packet) error {
	b, c := h.b, connOf(cl)
	c.client, c.clientID = cl, cl.ID
	c.v3 = cl.Properties.ProtocolVersion < 5
	if err := c.accept(pk.Connect.Keepalive); err != nil {
		return err
	}
	// The library sends twice as much as the client's receive maximum allows and then stalls, and it would resend a message
	// with an alias of the connection before.
	cl.Properties.Props.ReceiveMaximum, cl.Properties.Props.TopicAliasMaximum = 0, 0
	cl.State.Inflight.ResetSendQuota(0)

	reason, code := h.admit(cl, c, pk)
	if reason == "" {
		cl.ID = sessionID(c.account, cl.ID)
		c.will = newWill(pk)
		cl.Properties.Will = mqtt.Will{}
		reason, code = h.admitSession(cl)
	}
	if reason == "" {
		return nil
	}
	b.refused(reason, c.RemoteAddr().String(), string(pk.Connect.Username))
	if c.v3 {
		code = packets.Err3NotAuthorized
		if reason == refusedSessions || reason == refusedLoginBusy {
			code = packets.Err3ServerUnavailable
		}
	}
	_ = b.server.SendConnack(cl, code, false, nil) // the connection ends anyway
	c.client = nil                                 // it has no session
	return errRefused
}

// admitSession checks that there is room for the session.
func (h *hook) admitSession(cl *mqtt.Client) (reason string, code packets.Code) {
	if h.b.kicked.has(cl.ID) {
		return refusedSessions, packets.ErrServerBusy
	}
	if _, ok := h.b.server.Clients.Get(cl.ID); !ok && h.b.server.Clients.Len() >= h.b.cfg.Limits.Sessions {
		return refusedSessions, packets.ErrQuotaExceeded
	}
	return "", packets.CodeSuccess
}

// OnConnectAuthenticate has nothing left to decide; the library wants it.
func (h *hook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnACLCheck is asked before each publish, subscription and delivery.
func (h *hook) OnACLCheck(cl *mqtt.Client, name string, publish bool) bool {
	if publish {
		return name != forbidden && h.b.mayPublish(cl, name)
	}
	return h.b.maySubscribe(cl, name)
}

// OnSessionEstablish comes before the library looks for an old session and answers. From here to OnSessionEstablished the
// gate is shut.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	b, c := h.b, connOf(cl)
	if old, ok := b.server.Clients.Get(cl.ID); ok {
		h.takeWill(connOf(old), resumes(old, pk))
	}
	b.gate.shut(c)
	old, ok := b.server.Clients.Get(cl.ID)
	if !ok || !resumes(old, pk) {
		return
	}
	if oc := connOf(old); oc != nil {
		c.ids.inherit(old, &oc.ids)
	}
	renumber(old, cl)
}

// takeWill decides about the will of a connection that is taken over: it is dropped when the session goes on, since the
// client is here, and sent at once when a new session begins.
func (h *hook) takeWill(oc *conn, resumes bool) {
	if oc == nil || !oc.will.take() || resumes {
		return
	}
	if err := h.b.publishWill(oc); err != nil && h.b.news.due("will") {
		h.b.log.Warn("will could not be delivered", logkey.Client, oc.clientID, logkey.Error, err)
	}
}

// resumes tells whether the library will hand the session of old over to the client of a CONNECT.
func resumes(old *mqtt.Client, connect packets.Packet) bool {
	return !connect.Connect.Clean && (!old.Properties.Clean || old.Properties.ProtocolVersion == 5)
}

// ephemeral tells whether the session ends with its connection, as the library sees it.
func ephemeral(cl *mqtt.Client) bool {
	if cl.Properties.ProtocolVersion == 5 {
		return cl.Properties.Props.SessionExpiryInterval == 0
	}
	return cl.Properties.Clean
}

// renumber prepares what is resent. The library sorts it by the low 16 bits of Created, so that must be a small number in
// the right order. It also counts packet ids from 1 again; that goes on after the last one instead, so that a new message
// does not get the id of one that packetIDs has put aside.
func renumber(old, cl *mqtt.Client) {
	all := old.State.Inflight.GetAll(false)
	slices.SortStableFunc(all, func(a, b packets.Packet) int { return cmp.Compare(a.Created, b.Created) })
	last := uint16(0)
	for i, p := range all {
		p.Created = int64(i)
		old.State.Inflight.Set(p)
		if outbound(p) {
			last = p.PacketID
		}
	}
	for range last {
		if _, err := cl.NextPacketID(); err != nil {
			return // there is none left, and publishing will say so
		}
	}
}

// OnSessionEstablished comes after CONNACK and what was resent.
func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) {
	b, c := h.b, connOf(cl)
	c.established.Store(true)
	b.gate.leave(c)
	b.log.Debug("client connected", logkey.Client, c.clientID, logkey.User, c.account.name(), logkey.Address, cl.Net.Remote)
	if b.isStopping() { // disconnectAll may have come too early for it
		b.disconnect(c, packets.ErrServerShuttingDown)
	} else if !b.current(c) { // the same with SetAccounts
		b.disconnect(c, packets.ErrNotAuthorized)
	}
}

// OnDisconnect shuts the gate while the library removes a session that ends; serveConn leaves it.
func (h *hook) OnDisconnect(cl *mqtt.Client, _ error, expire bool) {
	c := connOf(cl)
	c.ids.after(cl)
	h.b.gate.leave(c)
	if expire {
		h.b.gate.shut(c)
	}
	c.ended = true
}

// OnClientExpired removes what the library forgets.
func (h *hook) OnClientExpired(cl *mqtt.Client) { h.b.server.UnsubscribeClient(cl) }

// OnPacketRead sees each packet of the client before the library checks and handles it.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	c := connOf(cl)
	c.room() // who does not read its answers is not listened to
	switch pk.FixedHeader.Type {
	case packets.Publish:
		if len(pk.Payload) > h.b.cfg.MaxPayload {
			_ = h.b.server.DisconnectClient(cl, packets.ErrPacketTooLarge) // it ends anyway
			return pk, packets.ErrRejectPacket
		}
		if !mqtt.IsValidFilter(pk.TopicName, true) {
			pk.TopicName = forbidden // or the library would not answer at all
		}
		if pk.FixedHeader.Qos == 0 {
			return pk, nil
		}
	case packets.Puback, packets.Pubrec, packets.Pubrel, packets.Pubcomp, packets.Subscribe, packets.Unsubscribe:
	case packets.Disconnect:
		if c.disconnectReason(pk) == packets.CodeDisconnect.Code {
			c.will.take() // a goodbye: nothing is to be said
		}
		return pk, nil
	default:
		return pk, nil
	}
	h.b.gate.enter(c)
	c.ids.before(cl, pk)
	return pk, nil
}

// disconnectReason is the reason code of a client's DISCONNECT. The library overlooks one that stands alone. It is the
// last byte that the client sends.
func (c *conn) disconnectReason(pk packets.Packet) byte {
	if !c.v3 && pk.FixedHeader.Remaining == 1 {
		return c.last
	}
	return pk.ReasonCode
}

// OnPacketProcessed comes after the packet was handled, with an error or without.
func (h *hook) OnPacketProcessed(cl *mqtt.Client, _ packets.Packet, _ error) {
	if c := connOf(cl); c != nil {
		c.ids.after(cl)
		h.b.gate.leave(c)
	}
}

// OnPublish comes before the message is retained, acknowledged and routed. Here it is committed.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	b, c := h.b, connOf(cl)
	if c != nil {
		pk.TopicName = strings.Clone(pk.TopicName) // it is part of the packet's bytes, which would live as long
		b.gate.leave(c)
		if err := b.deliver(cl, pk); err != nil {
			return pk, h.reject(cl, c, err)
		}
		b.gate.enter(c)
	}
	pk.Created = b.order.Add(1)
	return pk, nil
}

// reject ends the connection without an acknowledgement. After every other error the library would go on.
func (h *hook) reject(cl *mqtt.Client, c *conn, err error) error {
	if h.b.news.due("deliver") {
		h.b.log.Warn("message could not be taken, its client is disconnected", logkey.Client, c.clientID, logkey.Error, err)
	}
	_ = h.b.server.DisconnectClient(cl, packets.ErrServerBusy) // an error says that it is disconnected
	return packets.ErrRejectPacket
}

// OnSubscribe makes filters invalid that the library would take as a name: "a+", "b#".
func (h *hook) OnSubscribe(_ *mqtt.Client, pk packets.Packet) packets.Packet {
	for i := range pk.Filters {
		if _, err := topic.ParseFilter(pk.Filters[i].Filter); err != nil {
			pk.Filters[i].Filter = ""
		}
	}
	return pk
}

// OnSubscribed comes before SUBACK and the retained messages. The subscription is made, so the gate is not needed any
// more; the rest may take long.
func (h *hook) OnSubscribed(cl *mqtt.Client, _ packets.Packet, _ []byte) {
	c := connOf(cl)
	h.b.gate.leave(c)
	c.startBurst()
}

// OnRetainPublished comes after each retained message.
func (h *hook) OnRetainPublished(cl *mqtt.Client, _ packets.Packet) { connOf(cl).paceBurst() }

// OnPacketEncode comes before the library takes the client's lock to write a packet. Messages wait here for room.
func (h *hook) OnPacketEncode(cl *mqtt.Client, pk packets.Packet) packets.Packet {
	switch pk.FixedHeader.Type {
	case packets.Publish:
		if c := connOf(cl); c != nil && !c.settling.Load() {
			c.next()
		}
	case packets.Connack:
		pk.Properties.MaximumPacketSize = h.b.server.Options.Capabilities.MaximumPacketSize
	case packets.Pubrec:
		if pk.ReasonCode == packets.ErrPacketIdentifierInUse.Code { // a resent PUBLISH: that is fine
			pk.ReasonCode, pk.Properties.ReasonString = packets.CodeSuccess.Code, ""
		}
	}
	return pk
}

// OnPublishDropped is told of a message that did not fit into a client's queue.
func (h *hook) OnPublishDropped(cl *mqtt.Client, _ packets.Packet) {
	h.b.m.dropped.Inc()
	if h.b.news.due("dropped") {
		_, id, _ := strings.Cut(cl.ID, "\x00")
		h.b.log.Warn("message dropped: the client reads too slowly", logkey.Client, id)
	}
}
