// Command baseline is what gatepost is measured against: the same libraries doing the least that keeps the same promise.
//
//	baseline intake URL DIR   takes messages of an MQTT broker into bbolt and acknowledges them
//	baseline broker DIR       an MQTT broker whose sessions and QoS 1 messages are in bbolt before they are acknowledged
//
// The first line on standard output says that it runs (broker: where). SIGTERM ends it; intake then prints how many
// messages it has stored.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "baseline:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 3 && args[0] == "intake":
		return intake(ctx, args[1], args[2])
	case len(args) == 2 && args[0] == "broker":
		return broker(ctx, args[1])
	}
	return errors.New("usage: baseline intake URL DIR | baseline broker DIR")
}

// Buckets. The intake needs messages only.
var messages, sessions, queue = []byte("messages"), []byte("sessions"), []byte("queue")

func open(dir string) (*bbolt.DB, error) {
	db, err := bbolt.Open(filepath.Join(dir, "baseline.db"), 0o600, &bbolt.Options{
		Timeout: time.Second, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType,
	})
	if err != nil {
		return nil, err
	}
	return db, db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{messages, sessions, queue} {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return nil
	})
}
