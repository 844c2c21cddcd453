package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/gateway/discovery"
	"github.com/gatepost/gatepost/internal/admin"
	"github.com/gatepost/gatepost/internal/ids"
)

// proposalInfo is a device that is not admitted.
type proposalInfo struct {
	ID          string    `json:"id"`
	State       string    `json:"state"` // waiting, ignored or blocked
	Name        string    `json:"name"`
	Kind        string    `json:"kind,omitempty"`
	Model       string    `json:"model,omitempty"`
	More        bool      `json:"more,omitempty"` // of an admitted device: it wants to have this in addition
	Conventions []string  `json:"conventions,omitempty"`
	Area        string    `json:"area,omitempty"`
	Readings    []string  `json:"readings,omitempty"`
	Commands    []string  `json:"commands,omitempty"`
	Dangerous   []string  `json:"dangerous,omitempty"` // those of Commands
	Warnings    []string  `json:"warnings,omitempty"`
	Since       time.Time `json:"since,omitzero"`
}

type (
	decideRequest struct {
		Device   string `json:"device"`
		Decision string `json:"decision"` // admit, ignore or block
	}
	decideReply struct {
		Text string `json:"text"`
	}
)

// aboutProposal is p as the command line shows it.
func aboutProposal(p discovery.Proposal) proposalInfo {
	i := proposalInfo{
		ID: string(p.ID), State: string(p.Stage), Name: p.Name, Kind: strings.ReplaceAll(string(p.Is.Kind), "_", " "), Model: joined(" ", p.Is.Manufacturer, p.Is.Model),
		More: p.Into != "", Conventions: p.Conventions, Area: p.Is.Area, Warnings: p.Warnings, Since: p.Since,
	}
	for _, r := range p.Is.Readings {
		i.Readings = append(i.Readings, r.Name)
	}
	for _, c := range p.Is.Commands {
		i.Commands = append(i.Commands, c.Name)
		if c.Grade == "dangerous" {
			i.Dangerous = append(i.Dangerous, c.Name)
		}
	}
	return i
}

func (c *controller) Proposals(ctx context.Context) ([]proposalInfo, error) {
	list, err := c.d.gateway.Proposals(ctx)
	if err != nil {
		return nil, err
	}
	var out []proposalInfo
	for _, p := range list {
		out = append(out, aboutProposal(p))
	}
	return out, nil
}

func (c *controller) Decide(ctx context.Context, device, decision string) (string, error) {
	what := discovery.Decision(decision)
	if what != discovery.Admit && what != discovery.Ignore && what != discovery.Block {
		return "", &admin.Error{Code: admin.BadRequest, Text: fmt.Sprintf("%q is not admit, ignore or block", decision)}
	}
	text, err := c.d.gateway.Decide(ctx, ids.DeviceID(device), what)
	return text, asked(err)
}

// decideCommand makes `devices admit`, `ignore` and `block`.
func (a *app) decideCommand(what discovery.Decision, short, long string) *cobra.Command {
	return &cobra.Command{
		Use:     string(what) + " DEVICE...",
		Short:   short,
		Long:    long,
		Example: "  gatepost devices " + string(what) + " porch-lamp-1f2e3d4c5b6a",
		Args:    args(cobra.MinimumNArgs(1)),
		RunE: func(_ *cobra.Command, words []string) error {
			return each(words, func(id string) error {
				var reply decideReply
				if err := a.ask(verbDecide, decideRequest{id, string(what)}, &reply); err != nil {
					return err
				}
				_, err := fmt.Fprintln(a.out, clean(reply.Text, 0))
				return err
			})
		},
	}
}

// each does f for all words, also when it fails for some, and gives all errors. It ends when there is nobody to ask any more.
func each(words []string, f func(word string) error) error {
	var errs []error
	for _, w := range words {
		err := f(w)
		errs = append(errs, err)
		if errors.Is(err, admin.ErrNotRunning) || errors.Is(err, context.Canceled) {
			break
		}
	}
	return errors.Join(errs...)
}

// listProposals shows what is not admitted.
func (a *app) listProposals() error {
	var all []proposalInfo
	if err := a.ask(verbProposals, nil, &all); err != nil {
		return err
	}
	return a.showProposals(all)
}

// listUnsupported shows what was announced and can't be done.
func (a *app) listUnsupported() error {
	var all []unsupportedInfo
	if err := a.ask(verbUnsupported, nil, &all); err != nil {
		return err
	}
	return list(a, all, "Nothing was announced that is not supported.", []string{"DEVICE", "WHAT", "WHY"}, func(u unsupportedInfo) []string {
		return []string{cmp.Or(u.Device, "(no device)"), u.Name, u.Reason}
	})
}

// listWaiting shows, below other devices, what waits for a decision, if anything does.
func (a *app) listWaiting() error {
	var all []proposalInfo
	if err := a.ask(verbProposals, nil, &all); err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(p proposalInfo) bool { return p.State != "waiting" })
	if len(all) == 0 {
		return nil
	}
	if _, err := fmt.Fprintf(a.out, "\n%s for a decision (gatepost devices admit|ignore|block DEVICE):\n", counted(len(all), "new device")+" waiting"); err != nil {
		return err
	}
	return a.showProposals(all)
}

func (a *app) showProposals(all []proposalInfo) error {
	now := time.Now()
	return list(a, all, "No device waits for a decision, and none is ignored or blocked.", []string{"DEVICE", "NAME", "STATE", "KIND", "MODEL", "THROUGH", "COMMANDS", "SINCE", "NOTE"},
		func(p proposalInfo) []string {
			state := p.State
			if p.More {
				state += " (more)"
			}
			commands := fmt.Sprint(len(p.Commands))
			if n := len(p.Dangerous); n > 0 {
				commands += fmt.Sprintf(" (%d dangerous)", n)
			}
			return []string{p.ID, p.Name, state, p.Kind, p.Model, strings.Join(p.Conventions, ", "), commands, age(now, p.Since), strings.Join(p.Warnings, "; ")}
		})
}
