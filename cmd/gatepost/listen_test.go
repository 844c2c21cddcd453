package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// everybody may do everything.
type everybody struct{ mochi.HookBase }

func (everybody) ID() string { return "everybody" }
func (everybody) Provides(b byte) bool {
	return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck
}
func (everybody) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool { return true }
func (everybody) OnACLCheck(*mochi.Client, string, bool) bool              { return true }

// aBroker is another program's broker, which holds retained messages.
func aBroker(t *testing.T, retained map[string]string) (url string, b *mochi.Server) {
	t.Helper()
	b = mochi.New(&mochi.Options{InlineClient: true, Logger: quiet(t).Log})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(b.AddHook(new(everybody), nil), b.AddListener(listeners.NewNet("tcp", l)), b.Serve()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	for name, payload := range retained {
		if err := b.Publish(name, []byte(payload), true, 0); err != nil {
			t.Fatal(err)
		}
	}
	return "mqtt://" + l.Addr().String(), b
}

func TestListenTakesWhatTheBrokerHolds(t *testing.T) {
	url, b := aBroker(t, map[string]string{
		"homeassistant/switch/pump/config": `{"name":"Pump","uniq_id":"pump1","cmd_t":"pump/set","stat_t":"pump/state"}`,
		"pump/state":                       "ON",
	})
	rules, err := compile(new(config.Config))
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPreview(new(config.Config), rules, nil, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	news := false
	err = listenTo(ctx, new(config.Config), brokerFlags{url: url}, time.Minute, func(m topic.Message) {
		p.take(m)
		switch {
		case p.messages == 2 && !news: // both are here: something new happens
			news = true
			if err := b.Publish("pump/state", []byte("OFF"), false, 0); err != nil {
				t.Error(err)
			}
		case p.messages == 3:
			cancel() // as Ctrl-C does
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := showPreview(&out, p.result()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Pump (plug, homeassistant)", "State: off", "!on", "3 messages on 2 topics: 1 device"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
}

func TestListenSaysWhyItCannot(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "mqtt://" + l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err = listenTo(ctx, new(config.Config), brokerFlags{url: url}, time.Minute, func(topic.Message) {})
	if err == nil || !strings.Contains(err.Error(), url) {
		t.Errorf("nobody listens there, and the error is %v", err)
	}
	err = listenTo(ctx, new(config.Config), brokerFlags{}, time.Minute, func(topic.Message) {})
	if codeOf(err) != exitUsage {
		t.Errorf("no broker is named, and the error is %v", err)
	}
}

func TestBrokerFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := brokerFlags{url: "mqtt://h:1", user: "u", passwordFile: file}.client(new(config.Config))
	if err != nil || c.Password != "secret" || c.User != "u" || c.URL != "mqtt://h:1" {
		t.Errorf("%v", err)
	}
	cfg := &config.Config{MQTT: &config.MQTT{URL: "mqtt://broker:1883", User: "me"}}
	if c, err = (brokerFlags{}).client(cfg); err != nil || c.URL != "mqtt://broker:1883" || c.User != "me" {
		t.Errorf("%v", err)
	}
}

// TestPreviewIsBounded: a flood of topics and devices does not fill the memory, and is said.
func TestPreviewIsBounded(t *testing.T) {
	rules, err := compile(new(config.Config))
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPreview(new(config.Config), rules, nil, time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("x"), 8<<20)
	for i := range 40 {
		p.take(topic.Message{Topic: "big/" + strings.Repeat("x", i+1), Payload: big})
	}
	if p.bytes > maxPreviewBytes || p.result().Note == "" {
		t.Errorf("%d bytes are kept, and nothing is said", p.bytes)
	}
	if _, err := json.Marshal(p.result()); err != nil {
		t.Error(err)
	}
}
