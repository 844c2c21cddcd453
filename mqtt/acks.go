package mqtt

import "sync"

// acks acknowledges the messages of one connection in the order in which they came (MQTT 3.1.1 section 4.6), each after
// it is safe. One that never is safe holds back all behind it.
type acks struct {
	mu    sync.Mutex
	queue []*ack
	wake  chan struct{} // holds one token when the head may be safe
}

// ack is a message that waits to be acknowledged.
type ack struct {
	send func() // may block until the connection takes it
	safe bool
}

func newAcks() *acks { return &acks{wake: make(chan struct{}, 1)} }

// add appends a message.
func (a *acks) add(send func()) *ack {
	k := &ack{send: send}
	a.mu.Lock()
	a.queue = append(a.queue, k)
	a.mu.Unlock()
	return k
}

// done marks a message as safe. It never blocks.
func (a *acks) done(k *ack) {
	a.mu.Lock()
	k.safe = true
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// run sends until over is closed, or until finish is closed and what is safe has been sent.
func (a *acks) run(over, finish <-chan struct{}) {
	for {
		a.send(over)
		select {
		case <-a.wake:
		case <-over:
			return
		case <-finish:
			a.send(over)
			return
		}
	}
}

// send acknowledges from the head on what is safe.
func (a *acks) send(over <-chan struct{}) {
	for {
		select {
		case <-over:
			return
		default:
		}
		a.mu.Lock()
		if len(a.queue) == 0 || !a.queue[0].safe {
			a.mu.Unlock()
			return
		}
		k := a.queue[0]
		a.queue[0] = nil
		a.queue = a.queue[1:]
		a.mu.Unlock()
		k.send()
	}
}
