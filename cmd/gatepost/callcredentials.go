package main

import (
	"time"

	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/voip"
	"github.com/gatepost/gatepost/voip/leg"
)

// callCredentialTTL is how long the credential of a call is good for joining it.
const callCredentialTTL = time.Hour

// clockYear is a year that no true clock is before. A credential of a clock that was never set would have expired as soon
// as it is.
const clockYear = 2026

// callCredential makes the credential for a live call's own leg. Nil when there is no relay, none that credentials can be made
// for, or when the clock was never set.
func (d *daemon) callCredential(r voip.Record) *leg.TURN {
	now := time.Now()
	c := callCredential(d.relay.Load(), ids.NewULID(now)+" "+string(r.ID), now) // people may choose equal ids
	if c != nil {
		d.relayed.begin(voip.Key{Room: r.Room, Call: r.ID}, c.Username)
	}
	return c
}

// callCredential makes a credential that no other call has: its user is "call " and which.
func callCredential(t *config.Turn, which string, now time.Time) *leg.TURN {
	if t == nil || t.Secret.IsZero() || now.UTC().Year() < clockYear {
		return nil
	}
	c := mintCredential(t, "", callUser+which, callCredentialTTL, now)
	return &leg.TURN{URIs: c.URIs, Username: c.Username, Password: c.Password, TTL: c.TTL}
}
