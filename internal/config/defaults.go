package config

import (
	"log/slog"
	"path/filepath"
	"reflect"
	"time"
)

// defaulter fills in what a section has when the file does not say otherwise. Called before the section is read.
type defaulter interface{ defaults() }

// setDefaults fills in a struct and the sections in it that are there even when the file does not name them.
func setDefaults(v reflect.Value) {
	if with, ok := v.Addr().Interface().(defaulter); ok {
		with.defaults()
	}
	for _, f := range fields(v.Type()) {
		if part := v.Field(f.index); part.Kind() == reflect.Struct && !isLeaf(part.Type()) {
			setDefaults(part)
		}
	}
}

func (c *Config) defaults() {
	c.Discovery = "ask"
	c.Timezone = time.Local
}

func (m *Matrix) defaults() {
	m.Mode = ModeAppservice
	m.User = "gatepost"
	m.ControlRoom = "gatepost"
	m.Encryption = "allow"
}

func (m *Member) defaults() { m.Power = 25 }

func (m *MQTT) defaults() { m.MaxPayload = 4 << 20 }

func (l *MQTTLimits) defaults() {
	*l = MQTTLimits{Connections: 10_000, ConnectionsPerAddress: 2_000, LoginFailures: 10, ConnectTime: 10 * time.Second}
}

func (s *MQTTSessions) defaults() { *s = MQTTSessions{Expire: 30 * 24 * time.Hour, Max: 20_000} }

func (q *MQTTQueue) defaults() {
	*q = MQTTQueue{Messages: 100_000, Bytes: 64 << 20, Full: QueueDropOldest}
}

func (r *MQTTRetained) defaults() { *r = MQTTRetained{Messages: 50_000, Bytes: 64 << 20} }

func (c *Command) defaults() {
	c.Grade = GradeOperate
	c.Expires = 30 * time.Second
}

func (c *Commands) defaults() { c.Offline = "refuse" }

func (a *Arg) defaults() { a.On, a.Off = "ON", "OFF" }

func (r *Ring) defaults() { r.Timeout = 45 * time.Second }

func (c *Card) defaults() { c.Every = time.Minute }

func (c *Calls) defaults() { c.ListenUDP = ":50000" }

func (t *Turn) defaults() {
	t.RelayPorts = PortRange{First: 49152, Last: 65535}
	t.Limits = TurnLimits{
		AllocationsPerUser: 8, BytesPerSecondPerUser: 4_000_000, Allocations: 10_000,
		Connections: 2_000, ConnectionsPerAddress: 64, Answers: 5_000, AnswersPerNetwork: 100,
	}
}

func (c *Crypto) defaults() { c.Trust = "cross-signed" }

func (s *Store) defaults() {
	s.Path = "data"
	s.MaxSize = 256 << 20
}

func (a *Admin) defaults() { a.Listen = "127.0.0.1:8090" }

func (l *Log) defaults() {
	l.Level = slog.LevelInfo
	l.Format = "text"
}

// derive fills in the defaults that depend on other keys. dir is the folder of the file.
func (c *Config) derive(dir string) {
	if m := c.Matrix; m != nil && m.Mode == ModeAppservice {
		or(&m.Registration, filepath.Join(dir, "registration.yaml"))
		or(&m.Listen, "127.0.0.1:29333")
	}
	if m := c.MQTT; m != nil && m.URL == "" && m.Listen == nil {
		m.Listen = []string{"mqtt://127.0.0.1:1883"}
	}
	if m := c.MQTT; m != nil && m.URL == "" {
		section(&m.Limits)
		section(&m.Sessions)
		section(&m.Queue)
		section(&m.Retained)
	}
	if t := c.Turn; t != nil && t.Listen == nil {
		t.Listen = []string{"udp://0.0.0.0:3478", "tcp://0.0.0.0:3478"}
	}
	for i := range c.Devices {
		d := &c.Devices[i]
		if d.Every > 0 {
			or(&d.Class, "telemetry")
		}
		or(&d.Class, "event")
		if d.Class == "telemetry" && d.Every == 0 {
			d.Every = 10 * time.Minute
		}
		if d.Call != nil && d.MaxCall == 0 {
			d.MaxCall = 10 * time.Minute
		}
	}
	if !filepath.IsAbs(c.Store.Path) && !c.places.has("store.path") {
		c.Store.Path = filepath.Join(dir, c.Store.Path)
	}
	or(&c.Admin.Socket, filepath.Join(c.Store.Path, "gatepost.sock"))
}

func or(s *string, byDefault string) {
	if *s == "" {
		*s = byDefault
	}
}

// section gives a section that was not given its defaults.
func section[T any](s **T) {
	if *s == nil {
		*s = new(T)
		setDefaults(reflect.ValueOf(*s).Elem())
	}
}
