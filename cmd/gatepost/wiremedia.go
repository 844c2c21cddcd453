package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/internal/lifecycle"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/turn"
	"github.com/gatepost/gatepost/voip"
	"github.com/gatepost/gatepost/voip/media"
)

// errNoMedia is a mistake of the configuration: the section is read at the start only.
var errNoMedia = errors.New("needs the section calls, which names the gateway's media port; a new one counts after a restart")

// checkMedia checks what the gateway is to play.
func checkMedia(cfg *config.Config) error {
	errs := checkSources(cfg)
	for i, d := range cfg.Devices {
		if d.Call == nil || d.Call.Announce == "" {
			continue
		}
		at := fmt.Sprintf("devices[%d].call.announce", i)
		if _, err := media.LoadAnnouncement(d.Call.Announce); err != nil {
			errs = append(errs, cfg.At(at, err))
		}
		if cfg.Calls == nil {
			errs = append(errs, cfg.At(at, errNoMedia))
		}
	}
	return config.Join(errs...)
}

// addMedia makes the engine of the calls whose WebRTC party is the gateway, if the configuration has one.
func (d *daemon) addMedia(group *lifecycle.Group) error {
	c := d.cfg.Calls
	if c == nil {
		return nil
	}
	var err error
	d.media, err = media.New(media.Config{
		ListenUDP: c.ListenUDP, ListenTCP: c.ListenTCP, Interfaces: c.Interfaces, Permit: d.permitPeer, Log: d.p.Log,
		Metrics: media.NewMetrics(d.metrics),
		// names of the local network matter only where callers may be in one
		LocalNames: slices.ContainsFunc(c.AllowPeers, func(p netip.Prefix) bool { return !p.Addr().IsLoopback() && !turn.Public(p.Addr()) }),
	})
	if err != nil {
		return d.cfg.At("calls.listen_udp", err)
	}
	group.Add(lifecycle.Part{Name: "media", Start: listen(d.media.Listen), Run: d.media.Run})
	return nil
}

// permitPeer says whether a call's media may look for a way to addr: what is public and not this host, our relay, and what
// calls.allow_peers opens.
func (d *daemon) permitPeer(addr netip.Addr) bool {
	if slices.ContainsFunc(d.cfg.Calls.AllowPeers, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return true
	}
	if t := d.relay.Load(); t != nil && slices.Contains(t.PublicIP, addr) {
		return true
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == addr {
				return false
			}
		}
	}
	return turn.Public(addr)
}

// mediaLeg makes the legs of a device's calls; nil when the device speaks for itself. said, if it is not nil, takes what the
// device publishes about them.
func (d *daemon) mediaLeg(spec gateway.Phone) (leg func(voip.Key, voip.Record, func(voip.Event)) (voip.Leg, error), said func([]byte), err error) {
	if spec.Media == (gateway.Media{}) {
		return nil, nil, nil
	}
	if d.media == nil {
		return nil, nil, errNoMedia
	}
	log := d.p.Log.With(logkey.Device, string(spec.Device))
	open, said, err := d.deviceSource(spec, log)
	if err != nil {
		return nil, nil, err
	}
	return func(key voip.Key, r voip.Record, tell func(voip.Event)) (voip.Leg, error) {
		var relay *media.TURN
		if t := d.callCredential(r); t != nil {
			relay = &media.TURN{URIs: t.URIs, Username: t.Username, Password: t.Password}
		}
		l, err := d.media.Open(media.Call{Record: r, Source: open(), TURN: relay, Tell: tell, Say: d.noter(spec.Device), Digit: d.digit(spec, r)})
		if err != nil {
			return nil, err // a nil *Leg would be no nil Leg
		}
		d.legs.put(key, l)
		return l, nil
	}, said, nil
}
