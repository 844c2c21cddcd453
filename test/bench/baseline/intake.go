package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"go.etcd.io/bbolt"
)

const (
	batchSize = 256
	batchWait = 5 * time.Millisecond
)

// intake commits messages in batches, each full or 5 ms old, and acknowledges them then.
func intake(ctx context.Context, url, dir string) error {
	db, err := open(dir)
	if err != nil {
		return err
	}
	defer db.Close()
	in := make(chan paho.Message, 4*batchSize)
	client := paho.NewClient(paho.NewClientOptions().AddBroker(url).SetClientID("baseline").
		SetCleanSession(false).SetAutoAckDisabled(true).SetOrderMatters(true).SetConnectRetry(true).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) { in <- m }).
		SetOnConnectHandler(func(c paho.Client) { c.Subscribe("bench/#", 1, nil) }))
	if t := client.Connect(); t.Wait() && t.Error() != nil {
		return t.Error()
	}
	defer client.Disconnect(0)
	fmt.Println("running")

	stored := 0
	for {
		batch := collect(ctx, in)
		if len(batch) == 0 {
			fmt.Println(stored)
			return nil
		}
		if err := store(db, batch); err != nil {
			return err
		}
		stored += len(batch)
		for _, m := range batch {
			m.Ack()
		}
	}
}

// collect waits for a message and takes what follows it; nothing when ctx is done.
func collect(ctx context.Context, in <-chan paho.Message) []paho.Message {
	var batch []paho.Message
	select {
	case m := <-in:
		batch = append(batch, m)
	case <-ctx.Done():
		return nil
	}
	timer := time.NewTimer(batchWait)
	defer timer.Stop()
	for len(batch) < batchSize {
		select {
		case m := <-in:
			batch = append(batch, m)
		case <-timer.C:
			return batch
		}
	}
	return batch
}

func store(db *bbolt.DB, batch []paho.Message) error {
	return db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket(messages)
		for _, m := range batch {
			n, err := b.NextSequence()
			if err != nil {
				return err
			}
			value := append(append([]byte(m.Topic()), 0), m.Payload()...)
			if err := b.Put(binary.BigEndian.AppendUint64(nil, n), value); err != nil {
				return err
			}
		}
		return nil
	})
}
