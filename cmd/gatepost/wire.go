package main

import (
	"errors"
	"fmt"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// compile makes the gateway's rules of the configuration's devices. The error is every mistake with its place.
func compile(cfg *config.Config) (*gateway.Rules, error) {
	var list []*gateway.Rule
	var errs []error
	for i, d := range cfg.Devices {
		r, err := gateway.Compile(ruleSpec(d))
		if err != nil {
			errs = append(errs, placed(cfg, fmt.Sprintf("devices[%d].", i), err)...)
			continue
		}
		list = append(list, r)
	}
	if len(errs) > 0 {
		return nil, config.Join(errs...)
	}
	rules, err := gateway.NewRules(list...)
	if err != nil {
		return nil, config.Join(placed(cfg, "", err)...)
	}
	return rules, nil
}

// placed gives each KeyError in err its place in the file.
func placed(cfg *config.Config, prefix string, err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok { // of Compile itself, not of a chain
		var out []error
		for _, e := range joined.Unwrap() {
			out = append(out, placed(cfg, prefix, e)...)
		}
		return out
	}
	if k, ok := errors.AsType[*gateway.KeyError](err); ok {
		return []error{cfg.At(prefix+k.Key, k.Err)}
	}
	return []error{err}
}

func ruleSpec(d config.Device) gateway.RuleSpec {
	s := gateway.RuleSpec{
		Topic: d.Topic, Device: d.Device, Name: d.Name, Room: d.Room, Space: d.Space, Kind: d.Kind,
		Class: map[string]lane.Class{"alarm": lane.Alarm, "event": lane.Event, "state": lane.State, "telemetry": lane.Telemetry}[d.Class],
		Every: d.Every, ID: d.ID, Post: d.Post, Silence: d.Silence, Encryption: encryption(d.Encryption),
	}
	if c := d.Call; c != nil {
		s.Call = &gateway.CallSpec{Prefix: c.MQTT + c.Libpeer, Max: d.MaxCall, Media: gateway.Media{
			Announce: c.Announce, Record: c.Record, WHEP: c.WHEP, RTSP: c.RTSP, RTP: c.RTP, Libpeer: c.Libpeer != "",
		}}
		s.Call.Keys = keys(d)
		if p := d.Snapshot; p != nil {
			s.Call.Picture, s.Call.PictureURL = p.Topic, p.URL
		}
		if r := d.Ring; r != nil {
			s.Call.Ring = &gateway.RingSpec{Topic: r.Topic, People: r.People, AtOnce: r.AtOnce, Timeout: r.Timeout}
		}
	}
	for _, a := range d.Alarms {
		s.Alarms = append(s.Alarms, gateway.AlarmSpec{When: a.When, Text: a.Text, Clear: a.Clear})
	}
	for _, c := range d.Commands {
		k := gateway.CommandSpec{
			Name: c.Name, Topic: c.Topic, Payload: c.Payload, QoS: c.QoS, Retain: c.Retain, Expires: c.Expires, Repeat: c.Repeat,
			Grade: grade(c.Grade),
		}
		if c.Confirm != nil {
			k.Confirm = &gateway.ConfirmSpec{Topic: c.Confirm.Topic, Payload: c.Confirm.Payload}
		}
		k.Args, k.People = arguments(c.Args), c.People
		s.Commands = append(s.Commands, k)
	}
	return s
}

// keys are the commands by the keys of a telephone: of a device whose calls go through us. What another says of keys is not
// believed.
func keys(d config.Device) map[rune]string {
	if d.Call.MQTT != "" {
		return nil
	}
	out := map[rune]string{}
	for digit, command := range d.Keys {
		out[rune(digit[0])] = command
	}
	return out
}

// checkWiring checks what the configuration's own package can't: rules, registration, broker. Nothing is started.
func checkWiring(cfg *config.Config) (warnings []string, err error) {
	rules, err := compile(cfg)
	errs := []error{err}
	if err == nil {
		for _, w := range rules.Warnings() {
			warnings = append(warnings, cfg.At(w.Key, w.Err).Error())
		}
	}
	if m := cfg.Matrix; m != nil && m.Mode == config.ModeAppservice {
		reg, err := registration(cfg)
		errs = append(errs, err)
		if err == nil {
			warnings = append(warnings, reg.Warnings...)
		}
	}
	if m := cfg.MQTT; m != nil && m.URL != "" {
		if err := mqtt.CheckURL(m.URL); err != nil {
			errs = append(errs, cfg.At("mqtt.url", err))
		}
	}
	_, err = conventions(cfg)
	errs = append(errs, err, checkCrypto(cfg), checkBroker(cfg), checkTURN(cfg), checkMedia(cfg))
	return warnings, config.Join(errs...)
}

// registration reads the registration and checks that it is about us.
func registration(cfg *config.Config) (*config.Registration, error) {
	reg, err := config.LoadRegistration(cfg.Matrix.Registration)
	if err != nil {
		return nil, err
	}
	if err := reg.Covers(cfg.Matrix); err != nil {
		return nil, cfg.At("matrix.registration", err)
	}
	return reg, nil
}

// grade is a grade of the configuration; 0 for "".
func grade(name string) gateway.Grade {
	return map[string]gateway.Grade{config.GradeRead: gateway.Read, config.GradeOperate: gateway.Operate, config.GradeDangerous: gateway.Dangerous}[name]
}

// arguments are those of a rule's command.
func arguments(list []config.Arg) []convention.Arg {
	var out []convention.Arg
	for _, a := range list {
		out = append(out, convention.Arg{
			Name: a.Name, Label: a.Label, Kind: convention.ReadingKind(a.Kind), Unit: a.Unit, Min: a.Range.Min, Max: a.Range.Max, Step: a.Step,
			Options: a.Options, On: a.On, Off: a.Off, Optional: a.Optional, Secret: a.Secret,
		})
	}
	return out
}

// people are owners and members, and what they may.
func people(cfg *config.Config) gateway.People {
	p := gateway.People{Owners: cfg.Matrix.Owners, Members: map[ids.UserID]int{}, Sites: map[string]map[ids.UserID]int{}, Hours: map[ids.UserID]gateway.Hours{}, Verified: cfg.Commands.RequireVerified, Queue: cfg.Commands.Offline == config.OfflineQueue}
	for _, m := range cfg.Matrix.Members {
		if len(m.Spaces) == 0 {
			p.Members[m.User] = m.Power
		}
		for _, space := range m.Spaces {
			if p.Sites[space] == nil {
				p.Sites[space] = map[ids.UserID]int{}
			}
			p.Sites[space][m.User] = m.Power
		}
		if m.Hours != (config.Hours{}) {
			p.Hours[m.User] = m.Hours
		}
	}
	for _, l := range cfg.Commands.Limits {
		p.Limits = append(p.Limits, gateway.Limit{Device: ids.DeviceID(l.Device), Command: l.Command, Grade: grade(l.Grade), People: l.People})
	}
	return p
}

// tryMessage works out what a message would become.
func tryMessage(cfg *config.Config, name string, payload []byte) (tried, error) {
	rules, err := compile(cfg)
	if err != nil {
		return tried{}, err
	}
	if err := topic.ValidTopic(name); err != nil {
		return tried{}, usageError{err}
	}
	t := rules.Try(topic.Message{Topic: name, Payload: payload, QoS: 1})
	if t.Rule == "" {
		return tried{}, fmt.Errorf("no rule takes %s", name)
	}
	out := tried{Rule: t.Rule, Device: string(t.Device), Name: t.Name, Room: string(t.Room), Class: t.Class.String(), Note: t.Problem}
	if p := t.Post; p != nil {
		out.Posts = []triedPost{{Kind: string(p.Kind), Text: p.Text, HTML: p.HTML, MIME: p.MIME, Name: p.Name, Bytes: len(p.Data), Width: p.Width, Height: p.Height, Values: p.Values}}
	}
	return out, nil
}
