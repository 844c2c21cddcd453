package main

import (
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/internal/lifecycle"
	"github.com/gatepost/gatepost/turn"
)

// turnConfig is the relay's part of a configuration that has one, without log and metrics.
func turnConfig(cfg *config.Config) turn.Config {
	t := cfg.Turn
	out := turn.Config{
		PublicIP: t.PublicIP, Realm: t.Realm, CertFile: t.CertFile, KeyFile: t.KeyFile,
		RelayPorts: turn.Ports{First: t.RelayPorts.First, Last: t.RelayPorts.Last}, AllowPeers: t.AllowPeers, Drain: t.Drain,
		Limits: turn.Limits{
			Allocations: t.Limits.Allocations, AllocationsPerUser: t.Limits.AllocationsPerUser,
			BytesPerSecondPerUser: int64(t.Limits.BytesPerSecondPerUser), Connections: t.Limits.Connections,
			ConnectionsPerIP: t.Limits.ConnectionsPerAddress, Answers: t.Limits.Answers, AnswersPerSource: t.Limits.AnswersPerNetwork,
		},
	}
	for _, l := range t.Listen {
		if scheme, port, all := strings.Cut(l, "://:"); all {
			out.Listen = append(out.Listen, scheme+"://0.0.0.0:"+port, scheme+"://[::]:"+port)
		} else {
			out.Listen = append(out.Listen, l)
		}
	}
	for _, s := range []config.Secret{t.Secret, t.OldSecret} {
		if !s.IsZero() {
			out.Secrets = append(out.Secrets, s.Reveal())
		}
	}
	for _, u := range t.Users {
		out.Users = append(out.Users, turn.User{Name: u.User, Password: u.Password.Reveal()})
	}
	if cfg.Calls != nil {
		_, port, _ := net.SplitHostPort(cfg.Calls.ListenUDP)
		n, _ := strconv.ParseUint(port, 10, 16) // no number: a port that is picked, which nobody is told of
		out.MediaPort = uint16(n)
	}
	return out
}

// checkTURN checks what the relay's own package can only: addresses and the certificate. Nothing is started.
func checkTURN(cfg *config.Config) error {
	if cfg.Turn == nil {
		return nil
	}
	if _, err := turn.New(turnConfig(cfg)); err != nil {
		return config.Join(cfg.At("turn", err))
	}
	return nil
}

// drainGrace is what the relay gets beyond turn.drain to stop.
const drainGrace = 5 * time.Second

// addTURN makes the relay, if there is to be one. It stops after all parts that are added later, because it may drain long.
func (d *daemon) addTURN(group *lifecycle.Group) error {
	if d.cfg.Turn == nil {
		return nil
	}
	cfg := turnConfig(d.cfg)
	cfg.Log, cfg.Metrics, cfg.OnEnd = d.p.Log, d.metrics, d.relayed.allocationEnded
	var err error
	if d.turn, err = turn.New(cfg); err != nil {
		return config.Join(d.cfg.At("turn", err))
	}
	d.relay.Store(d.cfg.Turn)
	group.Add(lifecycle.Part{Name: "turn", Start: listen(d.turn.Listen), Run: d.turn.Run, Deadline: cfg.Drain + drainGrace})
	return nil
}

// updateTURN puts the live keys of a new configuration in force.
func (d *daemon) updateTURN(cfg *config.Config) error {
	if d.turn == nil {
		return nil
	}
	if err := d.turn.Update(turnConfig(cfg)); err != nil {
		return err
	}
	d.relay.Store(cfg.Turn)
	return nil
}
