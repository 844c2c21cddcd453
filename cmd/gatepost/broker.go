package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) brokerCommand() *cobra.Command {
	parent := &cobra.Command{
		Use:   "broker",
		Short: "Look at the embedded broker: clients, retained messages, passwords",
		Args:  noSubcommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Example: `  gatepost broker clients
  gatepost broker retained "zigbee2mqtt/#"
  gatepost broker kick porch
  gatepost broker passwd`,
	}
	parent.AddCommand(a.brokerClientsCommand(), a.brokerRetainedCommand(), a.brokerKickCommand(), a.passwdCommand())
	return parent
}

func (a *app) brokerClientsCommand() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "clients",
		Short: "List clients that are connected, or have a session to come back to",
		Args:  args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			var all []brokerClientInfo
			if err := a.ask(verbBrokerClients, nil, &all); err != nil {
				return err
			}
			now := time.Now()
			return list(a, all, "No client.", []string{"CLIENT", "ACCOUNT", "STATE", "SINCE", "ADDRESS", "MQTT", "SUBSCRIPTIONS", "WAITING"}, func(c brokerClientInfo) []string {
				state := "away"
				if c.Connected {
					state = "connected"
				}
				return []string{c.Client, c.Account, state, age(now, c.Since), c.Address, c.Protocol, strconv.Itoa(c.Subscriptions), strconv.Itoa(c.Waiting)}
			})
		},
	})
}

func (a *app) brokerRetainedCommand() *cobra.Command {
	var remove bool
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "retained [FILTER]",
		Short: "List or delete retained messages",
		Long: `List retained messages, at most 1000, or delete them. FILTER is a topic filter as in
MQTT; without it all are listed. Who has subscribed is told of what is deleted, by an
empty message as MQTT has it.`,
		Example: `  gatepost broker retained
  gatepost broker retained "homeassistant/+/old/#" --delete`,
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(_ *cobra.Command, words []string) error {
			if remove {
				if len(words) == 0 {
					return usageError{errNoFilter}
				}
				return a.dropRetained(words[0])
			}
			return a.listRetained(append(words, "#")[0])
		},
	})
	cmd.Flags().BoolVar(&remove, "delete", false, "delete them")
	return cmd
}

func (a *app) listRetained(filter string) error {
	var reply retainedReply
	if err := a.ask(verbBrokerRetained, retainedRequest{filter}, &reply); err != nil {
		return err
	}
	if a.json {
		return printJSON(a.out, reply)
	}
	err := list(a, reply.Messages, "No retained message.", []string{"TOPIC", "QOS", "BYTES", "PAYLOAD"}, func(r retainedInfo) []string {
		text := r.Text
		if text == "" {
			text = "(not text)"
		}
		return []string{r.Topic, strconv.Itoa(int(r.QoS)), strconv.Itoa(r.Bytes), text}
	})
	if more := reply.Total - len(reply.Messages); err == nil && more > 0 {
		_, err = fmt.Fprintf(a.out, "... and %d more; give a filter.\n", more)
	}
	return err
}

func (a *app) dropRetained(filter string) error {
	var reply countedReply
	if err := a.ask(verbDropRetained, retainedRequest{filter}, &reply); err != nil {
		return err
	}
	if a.json {
		return printJSON(a.out, reply)
	}
	_, err := fmt.Fprintf(a.out, "%d deleted.\n", reply.Count)
	return err
}

func (a *app) brokerKickCommand() *cobra.Command {
	var account string
	var forget bool
	cmd := &cobra.Command{
		Use:   "kick CLIENT",
		Short: "Disconnect a client",
		Long: `Disconnect a client. Nothing keeps it from coming back; to lock it out change its
account. With --forget its session ends too: its subscriptions, and what waits for it.`,
		Example: `  gatepost broker kick porch
  gatepost broker kick porch --account house --forget`,
		Args: args(cobra.ExactArgs(1)),
	}
	cmd.RunE = func(_ *cobra.Command, words []string) error {
		r := kickRequest{Client: words[0], Forget: forget}
		if cmd.Flags().Changed("account") {
			r.Account = &account
		}
		if err := a.ask(verbBrokerKick, r, nil); err != nil {
			return err
		}
		done := "disconnected"
		if forget {
			done = "disconnected and forgotten"
		}
		_, err := fmt.Fprintf(a.out, "%s is %s.\n", clean(words[0], 0), done)
		return err
	}
	cmd.Flags().StringVar(&account, "account", "", "whose client it is, where more than one account has it")
	cmd.Flags().BoolVar(&forget, "forget", false, "end its session too")
	return cmd
}
