package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// maxListen is the longest that try listens.
const maxListen = 24 * time.Hour

// brokerFlags say where to listen, in place of the configuration.
type brokerFlags struct{ url, user, passwordFile string }

// listenTo takes all that a broker delivers for a while, from its retained messages on. It subscribes to everything, with a
// session that ends with the connection, and publishes nothing. A signal ends it early.
func listenTo(ctx context.Context, cfg *config.Config, flags brokerFlags, d time.Duration, take func(topic.Message)) error {
	c, err := flags.client(cfg)
	if err != nil {
		return err
	}
	everything, err := topic.ParseFilter("#")
	if err != nil {
		return err
	}
	messages := make(chan topic.Message, 256)
	var trouble error
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	c.Clean, c.ClientID, c.Filters = true, "gatepost-try-"+ids.NewULID(time.Now()), []topic.Filter{everything}
	c.Deliver = func(m topic.Message, done func(error)) {
		select {
		case messages <- m:
			done(nil)
		case <-ctx.Done():
			done(ctx.Err())
		}
	}
	connected := false
	c.OnState = func(s mqtt.State) {
		if s.Connected {
			connected = true
		} else if !connected && s.Err != nil { // the first try must succeed
			trouble = s.Err
			cancel()
		}
	}
	client, err := mqtt.New(c)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	for {
		select {
		case m := <-messages:
			take(m)
		case err := <-ended:
			for len(messages) > 0 {
				take(<-messages)
			}
			if trouble != nil {
				return fmt.Errorf("the broker %s: %w", c.URL, trouble)
			}
			return err
		}
	}
}

// client is the part of the configuration that says where the broker is.
func (f brokerFlags) client(cfg *config.Config) (mqtt.Config, error) {
	c := mqtt.Config{URL: f.url, User: f.user}
	if f.passwordFile != "" {
		password, err := os.ReadFile(f.passwordFile)
		if err != nil {
			return c, fmt.Errorf("password: %w", err)
		}
		for len(password) > 0 && (password[len(password)-1] == '\n' || password[len(password)-1] == '\r') {
			password = password[:len(password)-1]
		}
		c.Password = string(password)
	}
	if f.url != "" {
		return c, nil
	}
	m := cfg.MQTT
	if m == nil || m.URL == "" {
		return c, usageError{errors.New("the configuration names no outside broker (mqtt.url): say which one with --url")}
	}
	c.URL, c.CAFile, c.CertFile, c.KeyFile, c.MaxPayload = m.URL, m.CAFile, m.CertFile, m.KeyFile, int(m.MaxPayload)
	if f.user == "" {
		c.User, c.Password = m.User, m.Password.Reveal()
	}
	return c, nil
}
