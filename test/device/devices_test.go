package device

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"image/jpeg"
	"slices"
	"strconv"
	"testing"
	"time"
)

func TestStation(t *testing.T) {
	s := newScripted(t)
	background(t, Station{Broker: s.addr(), Site: "garden", Name: "weather", Every: time.Millisecond}.Run)
	p := s.accept(0)
	for range 3 {
		for _, reading := range []string{"temperature", "humidity", "pressure"} {
			m, id := p.publish()
			if _, err := strconv.ParseFloat(string(m.Payload), 64); err != nil || m.Topic != "sensors/garden/weather/"+reading {
				t.Errorf("%s: %s", m.Topic, m.Payload)
			}
			p.puback(id)
		}
	}
}

func TestDoor(t *testing.T) {
	s := newScripted(t)
	background(t, Door{Broker: s.addr(), Name: "front", Every: time.Hour, Motor: time.Millisecond}.Run)
	p := s.accept(0)
	p.suback()
	m, id := p.publish()
	if m.Topic != "home/front/event" || string(m.Payload) != "opened" {
		t.Errorf("%s: %s", m.Topic, m.Payload)
	}
	p.puback(id)
	for _, command := range []string{"UNLOCK", "DANCE", "LOCK"} {
		p.send(publishPacket(Message{Topic: "home/front/set", Payload: []byte(command)}, 0))
	}
	for _, want := range []string{"UNLOCKED", "LOCKED"} {
		m, id := p.publish()
		if m.Topic != "home/front/lock" || string(m.Payload) != want || !m.Retain {
			t.Errorf("%s: %s, retained %v; want %s", m.Topic, m.Payload, m.Retain, want)
		}
		p.puback(id)
	}
}

func TestDrone(t *testing.T) {
	s := newScripted(t)
	background(t, Drone{Broker: s.addr(), Name: "osprey", Every: time.Millisecond, Picture: 3}.Run)
	p := s.accept(0)
	var got []string
	for range 7 {
		m, id := p.publish()
		got = append(got, m.Topic)
		switch m.Topic {
		case "drones/osprey/position":
			var at struct{ Lat, Lon, Alt, Speed float64 }
			if err := json.Unmarshal(m.Payload, &at); err != nil || at.Lat < 47 || at.Lat > 48 || at.Alt < 50 {
				t.Errorf("position %s: %v", m.Payload, err)
			}
		case "drones/osprey/camera":
			picture, err := jpeg.Decode(bytes.NewReader(m.Payload))
			if err != nil {
				t.Fatal(err)
			}
			if b := picture.Bounds(); b.Dx() != PictureWidth || b.Dy() != PictureHeight {
				t.Errorf("picture of %v", b)
			}
		}
		p.puback(id)
	}
	step := []string{"drones/osprey/battery", "drones/osprey/position"}
	if want := slices.Concat(step, step, []string{"drones/osprey/camera"}, step); !slices.Equal(got, want) {
		t.Errorf("published %q, want %q", got, want)
	}
}

func TestADeviceThatIsRefusedSaysSo(t *testing.T) {
	s := newScripted(t)
	done := make(chan error, 1)
	go func() { done <- Station{Broker: s.addr(), Site: "a", Name: "b"}.Run(context.Background()) }()
	s.accept(4)
	var refused *Refused
	if err := <-done; !errors.As(err, &refused) {
		t.Errorf("it ended with %v", err)
	}
}

func TestPicturesShowTheWay(t *testing.T) {
	early, err := Picture(1)
	if err != nil {
		t.Fatal(err)
	}
	late, err := Picture(60)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(early, late) {
		t.Error("the drone has not moved")
	}
}
