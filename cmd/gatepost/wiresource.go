package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/voip/media"
	sources "github.com/gatepost/gatepost/voip/source"
)

// checkSources checks where the gateway is to take the media of devices from.
func checkSources(cfg *config.Config) []error {
	var errs []error
	ports := map[uint16]int{} // of ours, to the device that has it
	for i, d := range cfg.Devices {
		if d.Call == nil {
			continue
		}
		var key string
		var err error
		switch c := d.Call; {
		case c.WHEP != "":
			key = "whep"
			_, err = sources.ParseWHEP(c.WHEP)
		case c.RTSP != "":
			key = "rtsp"
			_, err = sources.ParseRTSP(c.RTSP)
		case c.Libpeer != "":
			key = "libpeer"
		case c.RTP != "":
			key = "rtp"
			var r *sources.RTP
			if r, err = sources.ParseRTP(c.RTP); err == nil {
				for _, p := range r.Ports() {
					if other, taken := ports[p]; taken {
						err = fmt.Errorf("port %d is that of devices[%d] already", p, other)
					}
					ports[p] = i
				}
			}
		default:
			continue
		}
		at := fmt.Sprintf("devices[%d].call.%s", i, key)
		if err != nil {
			errs = append(errs, cfg.At(at, err))
		}
		if cfg.Calls == nil {
			errs = append(errs, cfg.At(at, errNoMedia))
		}
	}
	return errs
}

// keepVoice posts what callers said to a device.
func (d *daemon) keepVoice(device ids.DeviceID, log *slog.Logger) func(media.Recording) {
	return func(r media.Recording) {
		if err := d.gateway.Voice(device, r.Ogg, r.Duration); err != nil {
			log.Error("what a caller said could not be stored", logkey.Error, err)
		}
	}
}

// deviceSource is where the media of a device's calls comes from: open makes the source of one call, and said, if it is not nil,
// takes what the device publishes about it.
func (d *daemon) deviceSource(spec gateway.Phone, log *slog.Logger) (open func() media.Source, said func([]byte), err error) {
	switch m := spec.Media; {
	case m.Announce != "":
		a, err := media.LoadAnnouncement(m.Announce)
		if err != nil {
			return nil, nil, err
		}
		if m.Record == 0 {
			return a.Source, nil, nil
		}
		return func() media.Source { return a.Recorder(m.Record, d.keepVoice(spec.Device, log)) }, nil, nil
	case m.WHEP != "":
		w, err := sources.ParseWHEP(m.WHEP)
		if err != nil {
			return nil, nil, err
		}
		return func() media.Source { return w.Source(log) }, nil, nil
	case m.RTSP != "":
		r, err := sources.ParseRTSP(m.RTSP)
		if err != nil {
			return nil, nil, err
		}
		return func() media.Source { return r.Source(log) }, nil, nil
	case m.RTP != "":
		r, err := sources.ParseRTP(m.RTP)
		if err != nil {
			return nil, nil, err
		}
		return func() media.Source { return r.Source(log) }, nil, nil
	case m.Libpeer:
		l, err := sources.NewLibpeer(sources.LibpeerConfig{
			Publish: func(ctx context.Context, payload []byte) error { return d.gateway.Tell(ctx, spec, payload) },
			// A device on this host is one of a test.
			Loopback: slices.ContainsFunc(d.cfg.Calls.AllowPeers, func(p netip.Prefix) bool { return p.Contains(loopback) }),
			Log:      log,
		})
		if err != nil {
			return nil, nil, err
		}
		return l.Source, func(payload []byte) {
			if err := l.Receive(payload); err != nil {
				log.Warn("a device's word about a call is dropped", logkey.Error, err)
			}
		}, nil
	}
	return nil, nil, fmt.Errorf("%s: no media is named", spec.Device)
}

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})
