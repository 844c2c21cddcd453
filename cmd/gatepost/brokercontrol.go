package main

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/gatepost/gatepost/internal/admin"
	"github.com/gatepost/gatepost/mqtt/broker"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// brokerControl is what a gateway with the embedded broker does for the command line; see control.
type brokerControl interface {
	// BrokerClients lists all that have a session, connected or not.
	BrokerClients(ctx context.Context) ([]brokerClientInfo, error)
	BrokerRetained(ctx context.Context, r retainedRequest) (retainedReply, error)
	// DropRetained deletes the retained messages that a filter matches and returns how many.
	DropRetained(ctx context.Context, r retainedRequest) (int, error)
	BrokerKick(ctx context.Context, r kickRequest) error
}

// brokerClientInfo is a session of the embedded broker.
type brokerClientInfo struct {
	Client        string    `json:"client"`
	Account       string    `json:"account,omitempty"`
	Connected     bool      `json:"connected"`
	Since         time.Time `json:"since,omitzero"` // when it connected, or went
	Address       string    `json:"address,omitempty"`
	Protocol      string    `json:"protocol"`            // of MQTT: 3.1, 3.1.1 or 5
	Transport     string    `json:"transport,omitempty"` // mqtt, mqtts, ws or wss
	Subscriptions int       `json:"subscriptions"`
	Waiting       int       `json:"waiting"` // QoS 1 and 2 messages
}

// retainedInfo is a retained message.
type retainedInfo struct {
	Topic string `json:"topic"`
	QoS   byte   `json:"qos"`
	Bytes int    `json:"bytes"`
	Text  string `json:"text,omitempty"` // the payload's beginning, when it is text
}

// The requests and answers.
type (
	retainedRequest struct {
		Filter string `json:"filter"`
	}
	retainedReply struct {
		Messages []retainedInfo `json:"messages"`
		Total    int            `json:"total"` // there may be more than are listed
	}
	kickRequest struct {
		Client  string  `json:"client"`
		Account *string `json:"account,omitempty"` // nil: whose client it is must be clear
		Forget  bool    `json:"forget,omitempty"`
	}
)

const (
	verbBrokerClients  = "broker-clients"
	verbBrokerRetained = "broker-retained"
	verbDropRetained   = "broker-drop-retained"
	verbBrokerKick     = "broker-kick"
)

// serveBrokerControl registers every verb of c on s. It is called before s runs.
func serveBrokerControl(s *admin.Server, c brokerControl) {
	handle(s, verbBrokerClients, func(ctx context.Context, _ nothing) ([]brokerClientInfo, error) { return c.BrokerClients(ctx) })
	handle(s, verbBrokerRetained, c.BrokerRetained)
	handle(s, verbDropRetained, func(ctx context.Context, r retainedRequest) (countedReply, error) {
		n, err := c.DropRetained(ctx, r)
		return countedReply{n}, err
	})
	handle(s, verbBrokerKick, func(ctx context.Context, r kickRequest) (nothing, error) { return nothing{}, c.BrokerKick(ctx, r) })
}

// brokerController answers with the running broker.
type brokerController struct {
	b *broker.Broker // nil: there is none
}

func (c brokerController) check() error {
	if c.b == nil {
		return &admin.Error{Code: admin.Refused, Text: "this gatepost runs no broker of its own; where mqtt.url names one, look there"}
	}
	return nil
}

func (c brokerController) BrokerClients(context.Context) ([]brokerClientInfo, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	var out []brokerClientInfo
	for _, s := range c.b.Sessions() {
		out = append(out, brokerClientInfo{
			Client: s.ID, Account: s.Account, Connected: s.Connected, Since: s.Since, Address: s.Address, Protocol: s.Protocol,
			Transport: s.Transport, Subscriptions: s.Subscriptions, Waiting: s.Waiting,
		})
	}
	return out, nil
}

// So many retained messages are listed, and so many bytes of each.
const (
	maxRetained     = 1000
	retainedPreview = 256
)

func (c brokerController) BrokerRetained(_ context.Context, r retainedRequest) (retainedReply, error) {
	filter, err := c.filter(r)
	if err != nil {
		return retainedReply{}, err
	}
	list, total := c.b.Retained(filter, maxRetained, retainedPreview)
	out := retainedReply{Messages: []retainedInfo{}, Total: total}
	for _, m := range list {
		i := retainedInfo{Topic: m.Topic, QoS: m.QoS, Bytes: m.Bytes}
		if text, ok := beginning(m.Payload, m.Bytes); ok {
			i.Text = text
		}
		out.Messages = append(out.Messages, i)
	}
	return out, nil
}

// beginning is what is shown of a payload, of which p is the first part; false: it is not text.
func beginning(p []byte, whole int) (string, bool) {
	for n := 0; whole > len(p) && n < utf8.UTFMax && len(p) > 0 && !utf8.Valid(p); n++ {
		p = p[:len(p)-1] // a character may have been cut in two
	}
	return string(p), utf8.Valid(p)
}

func (c brokerController) filter(r retainedRequest) (topic.Filter, error) {
	if err := c.check(); err != nil {
		return topic.Filter{}, err
	}
	f, err := topic.ParseFilter(r.Filter)
	if err != nil {
		return topic.Filter{}, &admin.Error{Code: admin.BadRequest, Text: err.Error()}
	}
	return f, nil
}

func (c brokerController) DropRetained(ctx context.Context, r retainedRequest) (int, error) {
	filter, err := c.filter(r)
	if err != nil {
		return 0, err
	}
	return c.b.DropRetained(ctx, filter)
}

func (c brokerController) BrokerKick(ctx context.Context, r kickRequest) error {
	if err := c.check(); err != nil {
		return err
	}
	account, err := c.accountOf(r)
	if err != nil {
		return err
	}
	found, err := c.b.Kick(ctx, account, r.Client, r.Forget)
	if err == nil && !found {
		return noClient(r.Client)
	}
	return err
}

// accountOf finds whose client is meant.
func (c brokerController) accountOf(r kickRequest) (string, error) {
	if r.Account != nil {
		return *r.Account, nil
	}
	var owners []string
	for _, s := range c.b.Sessions() {
		if s.ID == r.Client {
			owners = append(owners, s.Account)
		}
	}
	switch len(owners) {
	case 0:
		return "", noClient(r.Client)
	case 1:
		return owners[0], nil
	}
	return "", &admin.Error{Code: admin.BadRequest, Text: fmt.Sprintf("there is a client %q of each of the accounts %q: say which with --account", r.Client, owners)}
}

func noClient(client string) error {
	return &admin.Error{Code: admin.NotFound, Text: fmt.Sprintf("there is no client %q", client)}
}

var errNoFilter = errors.New(`say which to delete: a topic or a filter ("#" is all of them)`)
