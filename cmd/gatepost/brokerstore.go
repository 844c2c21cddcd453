package main

import (
	"log/slog"

	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/mqtt/broker"
	"github.com/gatepost/gatepost/store"
)

// brokerFile is the embedded broker's database, beside the store's.
const brokerFile = "broker.db"

// brokerTable says what the embedded broker's file is: as large as the store's may be, again.
func brokerTable(cfg *config.Config, log *slog.Logger) store.TableOptions {
	return store.TableOptions{Path: cfg.Store.Path, Name: brokerFile, Buckets: broker.Buckets(), MaxSize: int64(cfg.Store.MaxSize), Log: log}
}

// openTable opens the embedded broker's file, or makes it.
func (d *daemon) openTable() error {
	t, err := store.OpenTable(brokerTable(d.cfg, d.p.Log))
	if err != nil {
		return err
	}
	d.table = t
	d.metrics.GaugeFunc("gatepost_broker_store_size_bytes", "Size of the embedded broker's file.", func() float64 {
		size, err := t.Size()
		if err != nil {
			return 0
		}
		return float64(size.File)
	})
	return nil
}

// brokerStore is what the embedded broker sees of its file.
type brokerStore struct{ table *store.Table }

func (s brokerStore) Commit(c broker.Commit) error {
	w := store.TableWork{Settled: c.Settled, Bytes: c.Bytes, Relief: c.Relief}
	if c.Work != nil {
		w.Work = func(r *store.Rows) error { return c.Work(r) }
	}
	return s.table.Commit(w)
}

func (s brokerStore) View(f func(broker.Rows) error) error {
	return s.table.View(func(r *store.Rows) error { return f(r) })
}

// queue bounds what waits for one client of the embedded broker.
func queue(m *config.MQTT) broker.Queue {
	return broker.Queue{
		Capacity: broker.Capacity{Messages: m.Queue.Messages, Bytes: int64(m.Queue.Bytes)},
		Refuse:   m.Queue.Full == config.QueueRefuse,
	}
}

// databases are those that a backup has.
func (d *daemon) databases() []database {
	dbs := []database{{storeFile, d.store.WriteTo}}
	if d.table != nil {
		dbs = append(dbs, database{brokerFile, d.table.WriteTo})
	}
	return dbs
}
