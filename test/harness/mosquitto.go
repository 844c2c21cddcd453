package harness

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// Mosquitto is an outside broker on a free port of 127.0.0.1 that lets anybody in. It writes down what it holds when it
// is stopped, not when it is killed.
type Mosquitto struct {
	process *Process
	address string
}

// NewMosquitto prepares the machine's mosquitto in dir, which must exist.
func NewMosquitto(dir string) (*Mosquitto, error) {
	program, err := exec.LookPath("mosquitto")
	if err != nil {
		program = "/usr/sbin/mosquitto" // not in everybody's PATH
	}
	ports, err := FreePorts(1)
	if err != nil {
		return nil, err
	}
	m := &Mosquitto{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0]))}
	// Started by root it would become a user who may not read our files.
	text := fmt.Sprintf("user root\nlistener %d 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location %s/\nlog_dest stderr\nlog_type all\n", ports[0], dir)
	config := filepath.Join(dir, "mosquitto.conf")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	m.process, err = newProcess("mosquitto", program, dir, nil, "-c", config)
	return m, err
}

// Address is host:port for devices.
func (m *Mosquitto) Address() string { return m.address }

// URL is for gatepost's configuration.
func (m *Mosquitto) URL() string { return "mqtt://" + m.address }

// Log is what it wrote.
func (m *Mosquitto) Log() *Log { return m.process.Log() }

// Start runs it and returns when it takes connections.
func (m *Mosquitto) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := m.process.start(); err != nil {
		return err
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if c, err := net.Dial("tcp", m.address); err == nil {
			return c.Close()
		}
		if !m.process.Running() {
			return m.process.explain(fmt.Errorf("ended instead of listening at %s", m.address))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return m.process.explain(fmt.Errorf("wait for %s: %w", m.address, ctx.Err()))
		}
	}
}

// Stop ends it in peace: what it holds is on disk.
func (m *Mosquitto) Stop() error {
	_, err := m.process.Stop(10 * time.Second)
	return err
}

// Kill ends it at once: what it held is lost.
func (m *Mosquitto) Kill() { m.process.Kill() }
