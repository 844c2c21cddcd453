package main

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.etcd.io/bbolt"
)

// firstNumber is above every Unix time, so that a message's Created tells whether it has a number of ours.
const firstNumber = int64(1) << 40

// op is a change of the file; done is nil when nobody waits for it.
type op struct {
	change func(*bbolt.Tx) error
	done   chan error
}

type hook struct {
	mqtt.HookBase
	server *mqtt.Server
	db     *bbolt.DB
	ops    chan op
	number atomic.Int64 // of the last message
	gate   *gate

	mu     sync.Mutex
	flight map[string]map[uint16]int64 // client, packet id: number of the message
}

func newHook(server *mqtt.Server, db *bbolt.DB) *hook {
	h := &hook{server: server, db: db, ops: make(chan op, 4096), flight: map[string]map[uint16]int64{}, gate: newGate()}
	h.number.Store(firstNumber)
	return h
}

func (h *hook) ID() string { return "baseline" }

func (h *hook) Provides(b byte) bool {
	return slices.Contains([]byte{
		mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablish, mqtt.OnSessionEstablished, mqtt.OnDisconnect,
		mqtt.OnSubscribed, mqtt.OnPublish, mqtt.OnPacketProcessed, mqtt.OnQosPublish, mqtt.OnQosComplete,
	}, b)
}

func (h *hook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (h *hook) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

// OnPublish blocks the publisher until the message and its rows are committed; the PUBACK comes after it.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	h.gate.enter(cl)
	if pk.FixedHeader.Qos == 0 {
		return pk, nil
	}
	n := h.number.Add(1)
	pk.Created = n
	value, err := storage.Message{
		FixedHeader: pk.FixedHeader, TopicName: pk.TopicName, Payload: pk.Payload, Origin: pk.Origin, Created: pk.Created,
	}.MarshalBinary()
	if err != nil {
		return pk, err
	}
	var rows [][]byte
	for id, sub := range h.server.Topics.Subscribers(pk.TopicName).Subscriptions {
		if c, ok := h.server.Clients.Get(id); ok && sub.Qos > 0 && kept(c) {
			rows = append(rows, rowKey(id, n))
		}
	}
	err = h.wait(func(tx *bbolt.Tx) error {
		if err := tx.Bucket(messages).Put(binary.BigEndian.AppendUint64(nil, uint64(n)), value); err != nil {
			return err
		}
		for _, key := range rows {
			if err := tx.Bucket(queue).Put(key, []byte{0, 0, 0}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return pk, packets.ErrRejectPacket
	}
	return pk, nil
}

func (h *hook) OnPacketProcessed(cl *mqtt.Client, _ packets.Packet, _ error) { h.gate.leave(cl) }

// OnQosPublish notes the packet id that a message has for a session.
func (h *hook) OnQosPublish(cl *mqtt.Client, pk packets.Packet, _ int64, _ int) {
	if pk.FixedHeader.Type != packets.Publish || pk.Created < firstNumber || !kept(cl) {
		return
	}
	h.mu.Lock()
	ids := h.flight[cl.ID]
	if ids == nil {
		ids = map[uint16]int64{}
		h.flight[cl.ID] = ids
	}
	ids[pk.PacketID] = pk.Created
	h.mu.Unlock()
	key, value := rowKey(cl.ID, pk.Created), append(binary.BigEndian.AppendUint16(nil, pk.PacketID), pk.FixedHeader.Qos)
	h.later(func(tx *bbolt.Tx) error { return tx.Bucket(queue).Put(key, value) })
}

// OnQosComplete forgets the row of a message that the session has acknowledged.
func (h *hook) OnQosComplete(cl *mqtt.Client, pk packets.Packet) {
	if pk.Created != 0 { // our own PUBACK, whose id belongs to the other direction
		return
	}
	h.mu.Lock()
	n, ok := h.flight[cl.ID][pk.PacketID]
	delete(h.flight[cl.ID], pk.PacketID)
	h.mu.Unlock()
	if ok {
		key := rowKey(cl.ID, n)
		h.later(func(tx *bbolt.Tx) error { return tx.Bucket(queue).Delete(key) })
	}
}

// OnSessionEstablish comes before the CONNACK.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, pk packets.Packet) {
	h.gate.shut(cl.Net.Conn)
	id, clean, keep := cl.ID, pk.Connect.Clean, kept(cl)
	_ = h.wait(func(tx *bbolt.Tx) error { // a disk that fails ends the measurement anyway
		if clean {
			if err := wipe(tx, id); err != nil || !keep {
				return err
			}
		}
		return tx.Bucket(sessions).Put([]byte(id), []byte{1})
	})
}

func (h *hook) OnSessionEstablished(cl *mqtt.Client, _ packets.Packet) { h.gate.open(cl.Net.Conn) }
func (h *hook) OnDisconnect(cl *mqtt.Client, _ error, _ bool)          { h.gate.leave(cl) }

// OnSubscribed comes before the SUBACK.
func (h *hook) OnSubscribed(cl *mqtt.Client, pk packets.Packet, _ []byte) {
	if !kept(cl) {
		return
	}
	_ = h.wait(func(tx *bbolt.Tx) error { // likewise
		for _, f := range pk.Filters {
			if err := tx.Bucket(sessions).Put([]byte(cl.ID+"\x00"+f.Filter), []byte{f.Qos}); err != nil {
				return err
			}
		}
		return nil
	})
}

// kept says that a session outlives its connection (MQTT 3.1.1: no clean session).
func kept(cl *mqtt.Client) bool { return !cl.Net.Inline && !cl.Properties.Clean }

func rowKey(id string, n int64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte(id), 0), uint64(n))
}

// wipe forgets a session and what waits for it.
func wipe(tx *bbolt.Tx, id string) error {
	prefix := append([]byte(id), 0)
	for _, name := range [][]byte{sessions, queue} {
		c := tx.Bucket(name).Cursor()
		for k, _ := c.Seek(prefix); bytes.HasPrefix(k, prefix); k, _ = c.Seek(prefix) {
			if err := c.Delete(); err != nil {
				return err
			}
		}
	}
	return tx.Bucket(sessions).Delete([]byte(id))
}

// wait makes a change and returns when it is committed.
func (h *hook) wait(change func(*bbolt.Tx) error) error {
	done := make(chan error, 1)
	h.ops <- op{change, done}
	return <-done
}

// later makes a change with one of the next commits.
func (h *hook) later(change func(*bbolt.Tx) error) { h.ops <- op{change, nil} }

func (h *hook) commit() {
	for o := range h.ops {
		batch := []op{o}
	more:
		for len(batch) < batchSize {
			select {
			case o, ok := <-h.ops:
				if !ok {
					break more
				}
				batch = append(batch, o)
			default:
				break more
			}
		}
		err := h.db.Update(func(tx *bbolt.Tx) error {
			for _, o := range batch {
				if err := o.change(tx); err != nil {
					return err
				}
			}
			return nil
		})
		for _, o := range batch {
			if o.done != nil {
				o.done <- err
			}
		}
	}
}
