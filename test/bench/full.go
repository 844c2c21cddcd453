package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	fullDevices    = 50
	fullPublishers = 16
	fullPayload    = 4000            // bytes
	fullSilence    = 3 * time.Second // without an acknowledgement: nothing more is taken
)

// full measures the start of a gateway whose store, 256 MiB, is full of events because the homeserver was away.
func full(ctx context.Context, b *bench) error {
	s, err := b.newSite(ctx, eventRule, fullDevices, false)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.hs.Stop(); err != nil {
		return err
	}
	n, err := s.fill(ctx)
	if err != nil {
		return err
	}
	size, err := s.gateway.metric(ctx, "gatepost_store_size_bytes", "")
	if err != nil {
		return err
	}
	info, err := os.Stat(filepath.Join(s.gateway.Dir, "data", "gatepost.db"))
	if err != nil {
		return err
	}
	b.report.note("full: %d events of %d bytes wait, the file has %d bytes", n, fullPayload, info.Size())
	s.gateway.Kill()
	if err := s.hs.Start(ctx); err != nil {
		return err
	}
	var took []float64
	for range starts {
		began := time.Now()
		if err := s.gateway.Start(ctx); err != nil {
			return err
		}
		took = append(took, time.Since(began).Seconds())
		s.gateway.Kill()
	}
	b.report.note("start with a full store: %s s", spread(took))
	b.report.recorded("full store, size", size/(1<<20), "MiB")
	b.report.recorded("start to ready with a full store", median(took), "s")
	return nil
}

// fill publishes until nothing is acknowledged any more and returns how many messages were.
func (s *site) fill(ctx context.Context) (int, error) {
	payload := bytes.Repeat([]byte("full "), fullPayload/5)
	var mu sync.Mutex
	total := 0
	var failed error
	var wg sync.WaitGroup
	for p := range fullPublishers {
		c, err := dial(s.gateway.mqtt, fmt.Sprintf("fill-%d", p))
		if err != nil {
			return 0, err
		}
		defer c.Close()
		wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				topic, _ := event(p+i*fullPublishers, fullDevices)
				_ = c.SetReadDeadline(time.Now().Add(fullSilence)) // of an open connection: cannot fail
				err := c.publish(topic, uint16(i%60000+1), payload)
				mu.Lock()
				if err == nil {
					total++
				} else if !errors.Is(err, os.ErrDeadlineExceeded) {
					failed = err
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return total, failed
}
