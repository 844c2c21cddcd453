package broker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// journal takes messages like a store does: written and fsynced in groups, the next as soon as one is done.
type journal struct {
	file *os.File
	in   chan entry
}

type entry struct {
	m    topic.Message
	done chan error
}

func newJournal(b *testing.B) *journal {
	file, err := os.Create(filepath.Join(b.TempDir(), "journal"))
	if err != nil {
		b.Fatal(err)
	}
	j := &journal{file, make(chan entry, 1024)}
	var wg sync.WaitGroup
	wg.Go(j.run)
	b.Cleanup(func() { close(j.in); wg.Wait(); file.Close() })
	return j
}

func (j *journal) run() {
	for first := range j.in {
		group := []entry{first}
		for len(group) < 256 && len(j.in) > 0 {
			group = append(group, <-j.in)
		}
		var buf []byte
		for _, e := range group {
			buf = append(append(buf, e.m.Topic...), e.m.Payload...)
		}
		_, err := j.file.Write(buf)
		if err == nil {
			err = j.file.Sync()
		}
		for _, e := range group {
			e.done <- err
		}
	}
}

func (j *journal) deliver(_ context.Context, m topic.Message) error {
	done := make(chan error, 1)
	j.in <- entry{m, done}
	return <-done
}

// QoS 1, one at a time from each publisher, all of it wanted: one operation is one acknowledged and fsynced message.
func BenchmarkAcknowledged(b *testing.B) {
	for _, publishers := range []int{1, 16, 200} {
		b.Run(fmt.Sprint(publishers), func(b *testing.B) {
			j := newJournal(b)
			f := start(b, func(cfg *Config) { cfg.Wants, cfg.Deliver = nil, j.deliver })
			var clients []*raw
			for i := range publishers {
				c := connect(b, f.addr, login{id: fmt.Sprint("p", i), clean: true})
				if err := c.SetReadDeadline(time.Time{}); err != nil {
					b.Fatal(err)
				}
				clients = append(clients, c)
			}
			payload := string(make([]byte, 100))
			b.ResetTimer()
			var wg sync.WaitGroup
			for i, c := range clients {
				wg.Go(func() {
					for n := i; n < b.N; n += publishers {
						if _, err := c.Write(c.publish(publish{topic: "want/x", qos: 1, id: uint16(n%65535 + 1), payload: payload})); err != nil {
							b.Error(err)
							return
						}
						if p, err := c.r.ReadByte(); err != nil || p>>4 != kindPuback {
							b.Error("no PUBACK:", err)
							return
						}
						if _, err := c.r.Discard(3); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
		})
	}
}
