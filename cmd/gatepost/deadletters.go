package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func (a *app) deadLettersCommand() *cobra.Command {
	parent := a.jsonFlag(&cobra.Command{
		Use:   "deadletters",
		Short: "List, show, retry and drop what could not be sent",
		Long: `List, show, retry and drop dead letters: messages that the homeserver refused
for good, each with its reason. Nothing in here is tried again by itself.`,
		Example: `  gatepost deadletters
  gatepost deadletters show 12
  gatepost deadletters retry 12 13
  gatepost deadletters drop --all`,
		Args: noSubcommand,
		RunE: func(*cobra.Command, []string) error { return a.listDeadLetters() },
	})
	parent.AddCommand(
		a.jsonFlag(&cobra.Command{
			Use:   "list",
			Short: "List dead letters, the oldest first",
			Args:  args(cobra.NoArgs),
			RunE:  func(*cobra.Command, []string) error { return a.listDeadLetters() },
		}),
		a.jsonFlag(&cobra.Command{
			Use:     "show NUMBER",
			Short:   "Show one dead letter",
			Example: "  gatepost deadletters show 12",
			Args:    args(cobra.ExactArgs(1)),
			RunE: func(_ *cobra.Command, words []string) error {
				n, err := numbers(words)
				if err != nil {
					return err
				}
				var d deadLetterInfo
				if err := a.ask(verbDeadLetter, letterRequest{n[0]}, &d); err != nil {
					return err
				}
				return a.showDeadLetter(d)
			},
		}),
		a.lettersCommand("retry", "Put dead letters back into the outbox", verbRetry, "back in the outbox"),
		a.lettersCommand("drop", "Delete dead letters", verbDrop, "deleted"),
	)
	return parent
}

// lettersCommand makes a subcommand that does something to some dead letters or to all.
func (a *app) lettersCommand(name, short, verb, done string) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:     name + " NUMBER... | --all",
		Short:   short,
		Example: fmt.Sprintf("  gatepost deadletters %s 12 13\n  gatepost deadletters %s --all", name, name),
		RunE: func(_ *cobra.Command, words []string) error {
			if all == (len(words) > 0) {
				return usageError{errors.New("say which: numbers, or --all")}
			}
			n, err := numbers(words)
			if err != nil {
				return err
			}
			var reply countedReply
			if err := a.ask(verb, letters{All: all, Numbers: n}, &reply); err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.out, "%d %s.\n", reply.Count, done)
			return err
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every dead letter")
	return cmd
}

func numbers(words []string) ([]uint64, error) {
	var out []uint64
	for _, w := range words {
		n, err := strconv.ParseUint(w, 10, 64)
		if err != nil {
			return nil, usageError{fmt.Errorf("%q is not the number of a dead letter", w)}
		}
		out = append(out, n)
	}
	return out, nil
}

func (a *app) listDeadLetters() error {
	var all []deadLetterInfo
	if err := a.ask(verbDeadLetters, nil, &all); err != nil {
		return err
	}
	now := time.Now()
	return list(a, all, "No dead letters.", []string{"NUMBER", "DEAD", "ROOM", "DEVICE", "KIND", "REASON"}, func(d deadLetterInfo) []string {
		return []string{strconv.FormatUint(d.Number, 10), age(now, d.DeadAt), d.Lane, d.Device, d.Kind, d.Reason}
	})
}

func (a *app) showDeadLetter(d deadLetterInfo) error {
	if a.json {
		return printJSON(a.out, d)
	}
	stamp := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	lines := [][2]string{
		{"number", strconv.FormatUint(d.Number, 10)},
		{"reason", d.Reason},
		{"room", d.Lane},
		{"device", d.Device},
		{"topic", d.Topic},
		{"class", d.Class},
		{"kind", d.Kind},
		{"id", d.ID},
		{"arrived", stamp(d.At)},
		{"given up", stamp(d.DeadAt)},
		{"media", d.MIME},
		{"text", d.Text},
	}
	if d.Bytes > 0 {
		lines = append(lines, [2]string{"media size", size(int64(d.Bytes))})
	}
	for _, k := range slices.Sorted(maps.Keys(d.Values)) {
		lines = append(lines, [2]string{"value " + k, d.Values[k]})
	}
	for _, l := range lines {
		if l[1] == "" {
			continue
		}
		if _, err := fmt.Fprintf(a.out, "%-12s %s\n", clean(l[0], maxCell), clean(l[1], 0)); err != nil {
			return err
		}
	}
	return nil
}
