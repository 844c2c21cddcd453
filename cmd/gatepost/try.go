package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/mqtt/convention"
	mqtttopic "github.com/gatepost/gatepost/mqtt/topic"
)

func (a *app) tryCommand() *cobra.Command {
	var topic, payload, file, replay string
	var during time.Duration
	var broker brokerFlags
	var prefixes map[string]string
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "try (--topic TOPIC (--payload TEXT | --payload-file FILE) | --replay FILE | --listen TIME)",
		Short: "Show what messages would become, without sending anything",
		Long: `Show what a message would become: which rule takes it, which device, room and
class it is for, and the text people would see. A message that no rule wants is
exit code 1.

With --replay or --listen: the devices that announce themselves in a broker's
traffic, with their rooms, status cards, commands, and what of them is not supported.
--replay reads a file (- is standard input) with a message a line: the topic, a
space and the payload, as mosquitto_sub -v prints them; or JSON like
{"topic": "a/b", "payload": "21.5", "retain": true}, with payload_base64 for what
is no text. --listen subscribes to everything for so long.

Nothing is sent or stored, no homeserver and no running gateway is asked. With
--replay and with --url the configuration may be missing.`,
		Example: `  gatepost try --topic sensors/roof/temperature --payload 21.5
  gatepost try --topic cam/porch/image --payload-file snapshot.jpg
  mosquitto_sub -t 'zigbee2mqtt/lamp' -C 1 | gatepost try --topic zigbee2mqtt/lamp --payload-file -
  gatepost try --listen 30s --url mqtt://broker.local:1883
  mosquitto_sub -v -t '#' -W 30 | gatepost try --replay -`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			given := cmd.Flags().Changed
			modes := 0
			for _, flag := range []string{"topic", "replay", "listen"} {
				if given(flag) {
					modes++
				}
			}
			switch {
			case modes > 1:
				return usageError{errors.New("one of --topic, --replay and --listen is possible, not more")}
			case given("replay"):
				return a.tryReplay(replay, prefixes)
			case given("listen"):
				return a.tryListen(during, broker, prefixes)
			}
			if err := need(cmd, "topic"); err != nil {
				return err
			}
			if given("payload") == given("payload-file") {
				return usageError{errors.New("one of --payload and --payload-file is needed")}
			}
			cfg, err := a.load()
			if err != nil {
				return err
			}
			body := []byte(payload)
			if file != "" {
				if body, err = a.readPayload(file, int64(maxTry)); err != nil {
					return err
				}
			}
			t, err := tryMessage(cfg, topic, body)
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(a.out, t)
			}
			return a.showTried(t)
		},
	})
	cmd.Flags().StringVarP(&topic, "topic", "t", "", "the message's `topic`")
	cmd.Flags().StringVarP(&payload, "payload", "p", "", "the message's payload")
	cmd.Flags().StringVar(&file, "payload-file", "", "the `file` that holds the payload; - is standard input")
	cmd.Flags().StringVar(&replay, "replay", "", "a `file` of recorded messages; - is standard input")
	cmd.Flags().DurationVar(&during, "listen", 0, "listen to the broker for this `time`, such as 30s")
	cmd.Flags().StringToStringVar(&prefixes, "prefix", nil, "where a convention's topics begin, as `convention=prefix`")
	cmd.Flags().StringVar(&broker.url, "url", "", "the broker's `url`, instead of the one in the configuration")
	cmd.Flags().StringVar(&broker.user, "user", "", "the user to log in as")
	cmd.Flags().StringVar(&broker.passwordFile, "password-file", "", "the `file` that holds the password")
	return cmd
}

// tryReplay shows what recorded messages would make.
func (a *app) tryReplay(file string, prefixes map[string]string) error {
	p, _, err := a.newPreview(true, prefixes)
	if err != nil {
		return err
	}
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("replay: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	err = convention.ReadCapture(in, func(m mqtttopic.Message) error {
		p.take(m)
		return nil
	})
	if err != nil {
		return fmt.Errorf("replay: %s: %w", file, err)
	}
	return a.showPreview(p)
}

// tryListen shows what a broker's traffic would make.
func (a *app) tryListen(d time.Duration, broker brokerFlags, prefixes map[string]string) error {
	if d <= 0 || d > maxListen {
		return usageError{fmt.Errorf("--listen is a time up to %v, such as 30s", maxListen)}
	}
	p, cfg, err := a.newPreview(broker.url != "", prefixes)
	if err != nil {
		return err
	}
	if err := untilSignal(func(ctx context.Context) error { return listenTo(ctx, cfg, broker, d, p.take) }); err != nil {
		return err
	}
	return a.showPreview(p)
}

// newPreview makes a preview by the configuration's rules; by none if there is no configuration and that may be.
func (a *app) newPreview(mayMiss bool, prefixes map[string]string) (*preview, *config.Config, error) {
	cfg := new(config.Config)
	if there, err := exists(a.configPath); err != nil {
		return nil, nil, err
	} else if there || !mayMiss {
		if cfg, err = a.load(); err != nil {
			return nil, nil, err
		}
	}
	rules, err := compile(cfg)
	if err != nil {
		return nil, nil, err
	}
	p, err := newPreview(cfg, rules, prefixes, cmp.Or(cfg.Timezone, time.Local))
	return p, cfg, err
}

func (a *app) showPreview(p *preview) error {
	if a.json {
		return printJSON(a.out, p.result())
	}
	return showPreview(a.out, p.result())
}

// maxTry is the largest payload that try reads, in bytes.
const maxTry = 64 << 20

// tried is what a message would become.
type tried struct {
	Rule   string      `json:"rule"`
	Device string      `json:"device"`
	Name   string      `json:"name"`
	Room   string      `json:"room"` // room key
	Class  string      `json:"class"`
	Posts  []triedPost `json:"posts"`
	Note   string      `json:"note,omitempty"` // why there is no post, or how it may differ on a running gateway
}

// triedPost is one thing that people would see.
type triedPost struct {
	Kind   string            `json:"kind"`
	Text   string            `json:"text,omitempty"`
	HTML   string            `json:"html,omitempty"`
	MIME   string            `json:"mime,omitempty"`
	Name   string            `json:"name,omitempty"`
	Bytes  int               `json:"bytes,omitempty"`
	Width  int               `json:"width,omitempty"`
	Height int               `json:"height,omitempty"`
	Values map[string]string `json:"values,omitempty"`
}

func (a *app) readPayload(file string, limit int64) ([]byte, error) {
	in := a.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, fmt.Errorf("payload: %w", err)
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	body, err := io.ReadAll(io.LimitReader(in, limit+1))
	if err != nil {
		return nil, fmt.Errorf("payload: %w", err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("payload: %s is larger than %s", file, size(limit))
	}
	return body, nil
}

func (a *app) showTried(t tried) error {
	lines := [][2]string{{"rule", t.Rule}, {"device", t.Device}, {"name", t.Name}, {"room", t.Room}, {"class", t.Class}}
	for _, p := range t.Posts {
		lines = append(lines, [2]string{p.Kind, p.Text})
		if p.MIME != "" {
			what := fmt.Sprintf("%s, %s, %s", p.Name, p.MIME, size(int64(p.Bytes)))
			if p.Width > 0 {
				what += fmt.Sprintf(", %dx%d", p.Width, p.Height)
			}
			lines = append(lines, [2]string{"file", what})
		}
	}
	lines = append(lines, [2]string{"note", t.Note})
	for _, l := range lines {
		if l[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(a.out, "%-8s %s\n", l[0], clean(l[1], 0)); err != nil {
			return err
		}
	}
	return nil
}
