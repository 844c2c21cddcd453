package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func (a *app) tryCommand() *cobra.Command {
	var topic, payload, file string
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "try --topic TOPIC (--payload TEXT | --payload-file FILE)",
		Short: "Show what a message would become, without sending anything",
		Long: `Show what a message would become: which rule takes it, which device, room and
class it is for, and the text people would see. Nothing is sent or stored, and no
running gateway is asked. A message that no rule wants is exit code 1.`,
		Example: `  gatepost try --topic sensors/roof/temperature --payload 21.5
  gatepost try --topic cam/porch/image --payload-file snapshot.jpg
  mosquitto_sub -t 'zigbee2mqtt/lamp' -C 1 | gatepost try --topic zigbee2mqtt/lamp --payload-file -`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "topic"); err != nil {
				return err
			}
			if cmd.Flags().Changed("payload") == cmd.Flags().Changed("payload-file") {
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
	return cmd
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
