package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/voip/media"
)

// commander is a gateway with a door: 9 rings the chime, 5 opens, which is dangerous, and 7 ran what there is no more. Whom
// it does not know it refuses.
type commander struct {
	asked []string
	ends  gateway.State
}

func (*commander) KeyCommand(_ context.Context, _ ids.DeviceID, key rune) (string, bool, error) {
	switch key {
	case '9':
		return "chime", false, nil
	case '5':
		return "open", true, nil
	case '7':
		return "gone", false, errors.New("there is no gone")
	}
	return "", false, nil
}

func (c *commander) Ask(_ context.Context, r gateway.AskRequest) (string, error) {
	c.asked = append(c.asked, fmt.Sprintf("%s %s for %s in %s, confirmed %v", r.Device, r.Name, r.Sender, r.Via, r.Confirmed))
	if r.Sender != "@alice:x" {
		return "", gateway.ErrRefused
	}
	r.Done(gateway.Command{State: c.ends})
	return "1", nil
}

func TestKeysRunCommands(t *testing.T) {
	const alice, bob ids.UserID = "@alice:x", "@bob:x"
	const chime, open = "door chime for @alice:x in a call, confirmed false", "door open for @alice:x in a call, confirmed true"
	for name, c := range map[string]struct {
		person ids.UserID
		keys   string // "." is a second in which nothing is pressed
		ends   gateway.State
		asked  []string
		heard  []media.Tone
		noted  int
	}{
		"one key":                            {alice, "9", gateway.Confirmed, []string{chime}, []media.Tone{media.Done}, 0},
		"a device that does not answer":      {alice, "9", gateway.Published, []string{chime}, []media.Tone{media.Done}, 0},
		"a command that fails":               {alice, "9", gateway.Failed, []string{chime}, []media.Tone{media.Refused}, 0},
		"nobody's key":                       {alice, "1#", "", nil, []media.Tone{media.Refused, media.Refused}, 0},
		"a confirmation of nothing":          {alice, "9#", gateway.Confirmed, []string{chime}, []media.Tone{media.Done, media.Refused}, 0},
		"a dangerous command":                {alice, "5..#", gateway.Confirmed, []string{open}, []media.Tone{media.Asked, media.Done}, 0},
		"a dangerous command, once":          {alice, "5", gateway.Confirmed, nil, []media.Tone{media.Asked}, 0},
		"a dangerous command, too late":      {alice, "5......#", gateway.Confirmed, nil, []media.Tone{media.Asked, media.Refused}, 0},
		"a dangerous command, taken back":    {alice, "51#", gateway.Confirmed, nil, []media.Tone{media.Asked, media.Refused, media.Refused}, 0},
		"a dangerous command, another after": {alice, "59#", gateway.Confirmed, []string{chime}, []media.Tone{media.Asked, media.Done, media.Refused}, 0},
		"a dangerous command, confirmed once": {
			alice, "5##", gateway.Confirmed, []string{open}, []media.Tone{media.Asked, media.Done, media.Refused}, 0,
		},
		"a caller without power": {bob, "9", "", []string{strings.Replace(chime, "alice", "bob", 1)}, []media.Tone{media.Refused}, 0},
		"what there is no more":  {alice, "77", "", nil, []media.Tone{media.Refused, media.Refused}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := &commander{ends: c.ends}
			now, noted := time.Unix(0, 0), 0
			k := &keypad{gateway: g, device: "door", person: c.person, now: func() time.Time { return now }, note: func(string) { noted++ }}
			var heard []media.Tone
			for _, key := range c.keys {
				if key == '.' {
					now = now.Add(time.Second)
					continue
				}
				k.press(key, func(tone media.Tone) { heard = append(heard, tone) })
			}
			if !slices.Equal(g.asked, c.asked) || !slices.Equal(heard, c.heard) || noted != c.noted {
				t.Errorf("asked %q, heard %v, noted %d", g.asked, heard, noted)
			}
		})
	}
}
