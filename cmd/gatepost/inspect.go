package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/gateway/discovery"
)

func (a *app) jsonFlag(cmd *cobra.Command) *cobra.Command {
	cmd.Flags().BoolVar(&a.json, "json", false, "print JSON")
	return cmd
}

func (a *app) devicesCommand() *cobra.Command {
	parent := &cobra.Command{
		Use:   "devices",
		Short: "List, admit and remove devices",
		Args:  noSubcommand,
		RunE:  func(*cobra.Command, []string) error { return a.listDevices(false) },
		Example: `  gatepost devices
  gatepost devices list --unmatched
  gatepost devices list --waiting
  gatepost devices admit porch-lamp-1f2e3d4c5b6a
  gatepost devices remove porch`,
	}
	var unmatched, waiting, unsupported bool
	list := a.jsonFlag(&cobra.Command{
		Use:   "list",
		Short: "List the devices",
		Args:  args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			switch {
			case waiting:
				return a.listProposals()
			case unsupported:
				return a.listUnsupported()
			}
			return a.listDevices(unmatched)
		},
	})
	list.Flags().BoolVar(&waiting, "waiting", false, "those that announced themselves and are not admitted, instead")
	list.Flags().BoolVar(&unmatched, "unmatched", false, "recent topics that no rule wants, instead")
	list.Flags().BoolVar(&unsupported, "unsupported", false, "what devices announced and gatepost does not support, instead")
	list.MarkFlagsMutuallyExclusive("unmatched", "waiting", "unsupported")
	a.jsonFlag(parent)
	parent.AddCommand(list,
		a.decideCommand(discovery.Admit, "Give a device that announced itself its room", `Give a device that announced itself its room, or an admitted one what it wants to have
in addition. The same as reacting with ✅ in the control room. One that is blocked is
read again, and waits for a decision when it next announces itself.`),
		a.decideCommand(discovery.Ignore, "Leave a device without a room", `Leave a device that announced itself without a room, and ask nobody again. It can be
admitted later.`),
		a.decideCommand(discovery.Block, "Read no announcement of a device any more", `Forget what a device announced, and read no more of it until it is admitted.`),
		&cobra.Command{
			Use:   "remove DEVICE...",
			Short: "Forget devices",
			Long: `Forget a device that is gone: its state and its place in lists. Its Matrix room keeps
its history, is called “… (removed)” and leaves its space; its user leaves the room.
If a rule still matches what it publishes, the device comes back with its next
message; if it announces itself, when it is admitted again. Then it has its room back.
One that waits for a decision, is ignored or blocked is forgotten, too, and waits again
when it next announces itself.`,
			Example: "  gatepost devices remove porch",
			Args:    args(cobra.MinimumNArgs(1)),
			RunE: func(_ *cobra.Command, words []string) error {
				return each(words, func(id string) error {
					if err := a.ask(verbRemoveDevice, deviceRequest{id}, nil); err != nil {
						return err
					}
					_, err := fmt.Fprintf(a.out, "%s is forgotten.\n", clean(id, 0))
					return err
				})
			},
		})
	return parent
}

func (a *app) listDevices(unmatched bool) error {
	now := time.Now()
	if unmatched {
		var topics []unmatchedInfo
		if err := a.ask(verbUnmatched, nil, &topics); err != nil {
			return err
		}
		return list(a, topics, "No message came that no rule wants.", []string{"TOPIC", "MESSAGES", "BYTES", "SEEN"},
			func(u unmatchedInfo) []string {
				return []string{u.Topic, strconv.Itoa(u.Messages), strconv.Itoa(u.Bytes), age(now, u.LastSeen)}
			})
	}
	var devices []deviceInfo
	if err := a.ask(verbDevices, nil, &devices); err != nil {
		return err
	}
	if err := list(a, devices, "No device yet. `gatepost devices list --unmatched` shows what comes in and matches no rule.",
		[]string{"DEVICE", "NAME", "RULE", "ROOM", "SEEN"},
		func(d deviceInfo) []string {
			rule, room := d.Rule, d.RoomID
			if rule == "" {
				rule = "(none)"
			}
			if room == "" {
				room = "(being made)"
			}
			if d.Announced && d.Rule == "" {
				rule = "(announced)"
			}
			return []string{d.ID, d.Name, rule, room, age(now, d.LastSeen)}
		}); err != nil || a.json {
		return err
	}
	return a.listWaiting()
}

func (a *app) roomsCommand() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:     "rooms",
		Short:   "List the rooms and spaces, and what is in the way of those that are not ready",
		Example: "  gatepost rooms --json",
		Args:    args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			var rooms []roomInfo
			if err := a.ask(verbRooms, nil, &rooms); err != nil {
				return err
			}
			return list(a, rooms, "No room yet.", []string{"ROOM", "NAME", "ALIAS", "ID", "STATE"}, func(r roomInfo) []string {
				return []string{r.Key, r.Name, r.Alias, r.RoomID, r.State}
			})
		},
	})
}

func (a *app) commandsCommand() *cobra.Command {
	var which commandsRequest
	var since time.Duration
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "commands",
		Short: "List the commands that are under way, and recent ones",
		Long: `List the commands that are under way, and recent ones: who asked for what, when, and
what became of it. With --device or --since all that are known, with --json also
each state that a command came to and when. Codes are never shown.`,
		Example: `  gatepost commands
  gatepost commands --device porch --since 24h --json`,
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			var commands []commandInfo
			now := time.Now()
			if since < 0 {
				return usageError{errors.New("--since is a time from now back, such as 24h")}
			}
			if since > 0 {
				which.Since = now.Add(-since)
			}
			if err := a.ask(verbCommands, which, &commands); err != nil {
				return err
			}
			return list(a, commands, "No command yet.", []string{"ASKED", "DEVICE", "COMMAND", "BY", "STATE", "WAY", "REASON"},
				func(c commandInfo) []string {
					by := c.User
					if by == "" {
						by = "(command line)"
					}
					if c.Via != "" {
						by += " (" + c.Via + ")"
					}
					what := strings.Join(append([]string{c.Name}, c.Args...), " ")
					return []string{age(now, c.At), c.Device, what, by, c.State, steps(c.Changes), c.Reason}
				})
		},
	})
	cmd.Flags().StringVarP(&which.Device, "device", "d", "", "only those of the device with this `id`")
	cmd.Flags().DurationVar(&since, "since", 0, "only those that something happened to in the last `time`, such as 24h")
	return cmd
}

// steps is what became of a command, with the time from one state to the next.
func steps(changes []changeInfo) string {
	var out []string
	for i, c := range changes {
		step := c.State
		if i > 0 {
			step += " +" + c.At.Sub(changes[i-1].At).Round(time.Millisecond).String()
		}
		out = append(out, step)
	}
	return strings.Join(out, ", ")
}

func (a *app) outboxCommand() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "outbox",
		Short: "Show what waits to be sent, room by room",
		Long: `Show what waits to be sent, room by room. An outbox that grows means that the
homeserver does not answer, or takes less than the devices say; see the column
WAITS FOR, and /readyz.`,
		Example: "  gatepost outbox",
		Args:    args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			var lanes []laneInfo
			if err := a.ask(verbOutbox, nil, &lanes); err != nil {
				return err
			}
			now := time.Now()
			return list(a, lanes, "Nothing waits.", []string{"ROOM", "MESSAGES", "SIZE", "OLDEST", "CLASSES", "WAITS FOR"},
				func(l laneInfo) []string {
					return []string{l.Lane, strconv.Itoa(l.Records), size(l.Bytes), age(now, l.Oldest), classes(l.Classes), l.Wait}
				})
		},
	})
}

// classes is "3 alarm, 1 event", the most important first.
func classes(n map[string]int) string {
	var out []string
	known := []string{"alarm", "event", "state", "telemetry"}
	for _, c := range known {
		if n[c] > 0 {
			out = append(out, fmt.Sprintf("%d %s", n[c], c))
		}
	}
	for c, k := range n {
		if k > 0 && !slices.Contains(known, c) {
			out = append(out, fmt.Sprintf("%d %s", k, c))
		}
	}
	return strings.Join(out, ", ")
}
