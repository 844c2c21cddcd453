package main

import (
	"net"
	"sync"

	mqtt "github.com/mochi-mqtt/server/v2"
)

// gate keeps routing and the inheritance of a session apart: mochi-mqtt copies the old client's queue, then adds the new
// client, and what is routed between the two would be lost. Publishers share the gate, a connecting client has it alone.
type gate struct {
	sync.RWMutex
	mu      sync.Mutex
	inside  map[*mqtt.Client]bool
	holders map[net.Conn]bool
}

func newGate() *gate { return &gate{inside: map[*mqtt.Client]bool{}, holders: map[net.Conn]bool{}} }

func (g *gate) enter(cl *mqtt.Client) {
	g.RLock()
	g.mu.Lock()
	g.inside[cl] = true
	g.mu.Unlock()
}

func (g *gate) leave(cl *mqtt.Client) {
	g.mu.Lock()
	held := g.inside[cl]
	delete(g.inside, cl)
	g.mu.Unlock()
	if held {
		g.RUnlock()
	}
}

func (g *gate) shut(c net.Conn) {
	g.Lock()
	g.mu.Lock()
	g.holders[c] = true
	g.mu.Unlock()
}

// open ends what shut began, if it has not ended: after the CONNACK, or when the connection closes on the way to it.
func (g *gate) open(c net.Conn) {
	g.mu.Lock()
	held := g.holders[c]
	delete(g.holders, c)
	g.mu.Unlock()
	if held {
		g.Unlock()
	}
}
