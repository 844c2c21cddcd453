package device

import (
	"context"
	"time"
)

// Door is a door with a lock. It publishes "opened" and "closed" to home/<Name>/event, one of them every Every (0 means
// 1 s), and obeys UNLOCK and LOCK on home/<Name>/set: Motor later (0 means 300 ms) the lock says UNLOCKED or LOCKED,
// retained, on home/<Name>/lock.
type Door struct {
	Broker string
	Name   string
	Every  time.Duration
	Motor  time.Duration
}

// Run serves the door until ctx is done.
func (d Door) Run(ctx context.Context) error {
	if d.Motor == 0 {
		d.Motor = 300 * time.Millisecond
	}
	base := "home/" + d.Name + "/"
	commands := make(chan string, 16)
	cfg := Config{Addr: d.Broker, ClientID: d.Name, Subscribe: []string{base + "set"}, OnMessage: func(m Message) {
		select {
		case commands <- string(m.Payload):
		default: // a lock that is told too much forgets the rest
		}
	}}
	return with(ctx, cfg, func(ctx context.Context, c *Client) error {
		ctx, cancel := context.WithCancelCause(ctx)
		lock := make(chan struct{})
		go func() {
			defer close(lock)
			cancel(d.work(ctx, c, base, commands))
		}()
		err := every(ctx, d.Every, func(step int) error {
			return c.Publish(ctx, Message{Topic: base + "event", Payload: []byte([]string{"opened", "closed"}[step%2]), QoS: 1})
		})
		cancel(err)
		<-lock
		return context.Cause(ctx)
	})
}

// work moves the lock, one command after the other.
func (d Door) work(ctx context.Context, c *Client, base string, commands <-chan string) error {
	state := map[string]string{"UNLOCK": "UNLOCKED", "LOCK": "LOCKED"}
	for {
		select {
		case command := <-commands:
			if state[command] == "" {
				continue
			}
			select {
			case <-time.After(d.Motor):
			case <-ctx.Done():
				return nil
			}
			m := Message{Topic: base + "lock", Payload: []byte(state[command]), QoS: 1, Retain: true}
			if err := c.Publish(ctx, m); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}
