package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/hooks/storage"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.etcd.io/bbolt"
)

// broker is mochi-mqtt with a hook that commits each QoS 1 message before its PUBACK: a group commit that starts at once
// when none runs and takes what came meanwhile, and the write buffer of each connection that a broker for devices needs.
// Everybody may do everything, and sessions are not kept.
func broker(ctx context.Context, dir string) error {
	db, err := open(dir)
	if err != nil {
		return err
	}
	defer db.Close()
	limits := mqtt.NewDefaultServerCapabilities()
	limits.MaximumMessageExpiryInterval = 0
	limits.MaximumInflight = 65535
	limits.MaximumClientWritesPending = 65536
	limits.ReceiveMaximum = 1024
	limits.MaximumPacketSize = 8 << 20
	server := mqtt.New(&mqtt.Options{Capabilities: limits, SysTopicResendInterval: 3600, Logger: slog.New(slog.DiscardHandler)})
	h := &hook{db: db, ops: make(chan op, 4096)}
	var committer sync.WaitGroup
	committer.Go(h.commit)
	if err := server.AddHook(h, nil); err != nil {
		return err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := server.AddListener(listeners.NewNet("baseline", &listener{l})); err != nil {
		return err
	}
	if err := server.Serve(); err != nil {
		return err
	}
	fmt.Println(l.Addr())
	<-ctx.Done()
	err = server.Close()
	close(h.ops)
	committer.Wait()
	return err
}

// op is a message to be stored.
type op struct {
	value []byte
	done  chan error
}

type hook struct {
	mqtt.HookBase
	db  *bbolt.DB
	ops chan op
}

func (h *hook) ID() string { return "baseline" }

func (h *hook) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck || b == mqtt.OnPublish
}

func (h *hook) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (h *hook) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

// OnPublish blocks the publisher until the message is committed; the PUBACK comes after it.
func (h *hook) OnPublish(_ *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if pk.FixedHeader.Qos == 0 {
		return pk, nil
	}
	value, err := storage.Message{
		FixedHeader: pk.FixedHeader, TopicName: pk.TopicName, Payload: pk.Payload, Origin: pk.Origin, Created: pk.Created,
	}.MarshalBinary()
	if err != nil {
		return pk, err
	}
	o := op{value: value, done: make(chan error, 1)}
	h.ops <- o
	if <-o.done != nil {
		return pk, packets.ErrRejectPacket
	}
	return pk, nil
}

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
			b := tx.Bucket(messages)
			for _, o := range batch {
				n, err := b.NextSequence()
				if err != nil {
					return err
				}
				if err := b.Put(binary.BigEndian.AppendUint64(nil, n), o.value); err != nil {
					return err
				}
			}
			return nil
		})
		for _, o := range batch {
			o.done <- err
		}
	}
}
