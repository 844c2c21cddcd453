package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/voip"
	"github.com/gatepost/gatepost/voip/media"
)

// keypad runs a device's commands by the keys that a person presses in one call, in the person's name. Used by one goroutine.
type keypad struct {
	gateway interface {
		KeyCommand(ctx context.Context, device ids.DeviceID, key rune) (name string, dangerous bool, err error)
		Ask(ctx context.Context, req gateway.AskRequest) (string, error)
	}
	device ids.DeviceID
	person ids.UserID
	keys   voip.Keys
	now    func() time.Time
	note   func(text string) // a line in the device's room; it does not block
	noted  bool              // once in a call is enough
}

// keyTime is how long a key may wait for its answer from the homeserver, which says what the person may.
const keyTime = 5 * time.Second

// press takes a key. The person hears what came of it by play, which does not block: at once when something more is expected
// of them, or when they may not; else when the command has ended.
func (k *keypad) press(key rune, play func(media.Tone)) {
	ctx, cancel := context.WithTimeout(context.Background(), keyTime) // what was pressed before a hangup is done
	defer cancel()
	name, dangerous, err := k.gateway.KeyCommand(ctx, k.device, key)
	k.keys.Commands = map[rune]voip.KeyCommand{}
	if name != "" && err == nil {
		k.keys.Commands[key] = voip.KeyCommand{Name: name, Dangerous: dangerous}
	}
	result, name := k.keys.Press(k.now(), key)
	switch result {
	case voip.KeyConfirm:
		play(media.Asked)
		return
	case voip.KeyRun:
		_, err = k.gateway.Ask(ctx, gateway.AskRequest{
			Device: k.device, Sender: k.person, Name: name, Via: "a call", Confirmed: key == '#',
			Done: func(c gateway.Command) {
				if c.State == gateway.Confirmed || c.State == gateway.Published {
					play(media.Done)
				} else {
					play(media.Refused)
				}
			},
		})
		if err == nil {
			return
		}
	}
	play(media.Refused)
	if err != nil && !errors.Is(err, gateway.ErrRefused) && !k.noted { // a refusal is in the room already
		k.noted = true
		k.note(fmt.Sprintf("%s pressed %c in a call, and nothing was done: %v", k.person, key, err))
	}
}

// digit is what the leg of a call tells of keys; nil when the device has none.
func (d *daemon) digit(spec gateway.Phone, r voip.Record) func(*media.Leg, rune) {
	if len(spec.Keys) == 0 {
		return nil
	}
	k := &keypad{gateway: d.gateway, device: spec.Device, person: r.Person, now: time.Now, note: d.noter(spec.Device)}
	return func(l *media.Leg, key rune) { k.press(key, l.Play) }
}

// noter says a line about the calls of a device in its room.
func (d *daemon) noter(device ids.DeviceID) func(text string) {
	return func(text string) {
		if err := d.gateway.Note(device, text, nil); err != nil {
			d.p.Log.Error("a line about a call could not be stored", logkey.Device, string(device), logkey.Error, err)
		}
	}
}
