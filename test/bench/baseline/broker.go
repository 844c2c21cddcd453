package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
)

// broker is mochi-mqtt with a hook that keeps in bbolt what a restart would need: sessions, subscriptions, and each QoS 1
// message with a row for every session that wants it, committed before its PUBACK. A group commit starts at once when none
// runs and takes what came meanwhile. Nothing is ever read back, messages that nobody needs any more stay, and everybody
// may do everything: it is the least that such a broker does.
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
	h := newHook(server, db)
	var committer sync.WaitGroup
	committer.Go(h.commit)
	if err := server.AddHook(h, nil); err != nil {
		return err
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	if err := server.AddListener(listeners.NewNet("baseline", &listener{l, h.gate.open})); err != nil {
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
