package relay

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatepost/gatepost/test/turn/wire"
)

// await waits for a line of the log; a server that ends instead is an error. A server that is not ready is stopped.
func (s *Server) await(ctx context.Context, text string) error {
	return s.poll(ctx, func() error {
		if !strings.Contains(s.Log(), text) {
			return fmt.Errorf("has not said %q", text)
		}
		return nil
	})
}

// probe waits until it answers a Binding request. In a network namespace that we are not in, it is coturn, whose log is all we
// see of it.
func (s *Server) probe(ctx context.Context, network string) error {
	if len(s.prefix) > 0 {
		return s.await(ctx, "Total General servers")
	}
	return s.poll(ctx, func() error {
		c, err := wire.Dial(network, s.Addr.String(), nil, wire.Credential{})
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Write(wire.Build(wire.Binding, wire.NewID()).Bytes()); err != nil {
			return err
		}
		_, err = c.Read(time.Now().Add(time.Second))
		return err
	})
}

func (s *Server) poll(ctx context.Context, ready func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
			continue
		case <-s.done:
			err = errors.Join(err, errors.New("it ended"))
		case <-ctx.Done():
		}
		tail := s.Tail()
		_, stop := s.Stop(2 * time.Second)
		return errors.Join(fmt.Errorf("relay: %s is not ready: %w; the end of its log:\n%s", s.Name, err, tail), stop)
	}
}
