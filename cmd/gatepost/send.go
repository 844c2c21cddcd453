package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// maxSend is the largest text that send takes, in bytes; a Matrix event holds no more.
const maxSend = 48 << 10

func (a *app) sendCommand() *cobra.Command {
	var device string
	var command bool
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "send --device DEVICE TEXT | --command --device DEVICE NAME [ARGUMENT...]",
		Short: "Post as a device, or run a command of it",
		Long: `Post a text into a device's room as that device, or run one of its commands as an
owner would. The text "-" is read from standard input.

A command has ended well when its exit code is 0: it was published or, where the
device confirms, is confirmed or still waited for; the word printed says which.`,
		Example: `  gatepost send --device porch "the courier was here"
  dmesg | tail -n 5 | gatepost send --device server -
  gatepost send --command --device porch unlock
  gatepost send --command --device heater set -- -5`,
		Args: args(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, words []string) error {
			if err := need(cmd, "device"); err != nil {
				return err
			}
			if command {
				return a.sendACommand(device, words[0], words[1:])
			}
			return a.sendText(device, words)
		},
	})
	cmd.Flags().StringVarP(&device, "device", "d", "", "the device's `id`")
	cmd.Flags().BoolVar(&command, "command", false, "the words are a command of the device and its arguments")
	return cmd
}

func (a *app) sendText(device string, words []string) error {
	if len(words) > 1 {
		return usageError{errors.New("put the text into quotes")}
	}
	text := words[0]
	if text == "-" {
		read, err := io.ReadAll(io.LimitReader(a.in, maxSend+1))
		if err != nil {
			return fmt.Errorf("read the text: %w", err)
		}
		text = string(read)
	}
	switch {
	case strings.TrimSpace(text) == "":
		return usageError{errors.New("the text is empty")}
	case len(text) > maxSend:
		return usageError{fmt.Errorf("the text is larger than %s", size(maxSend))}
	}
	if err := a.ask(verbSend, sendRequest{device, text}, nil); err != nil {
		return err
	}
	if a.json {
		return printJSON(a.out, nothing{})
	}
	_, err := fmt.Fprintln(a.out, "In the outbox.")
	return err
}

func (a *app) sendACommand(device, name string, words []string) error {
	var c commandInfo
	if err := a.ask(verbRunCommand, commandRequest{device, strings.TrimPrefix(name, "!"), words}, &c); err != nil {
		return err
	}
	if a.json {
		if err := printJSON(a.out, c); err != nil {
			return err
		}
	} else if c.outcome() == nil {
		if _, err := fmt.Fprintf(a.out, "%s: %s\n", clean(c.Name, 0), c.State); err != nil {
			return err
		}
	}
	return c.outcome()
}
