package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/internal/admin"
	"github.com/gatepost/gatepost/internal/config"
)

// app is one use of the command line.
type app struct {
	env    []string
	in     io.Reader
	out    io.Writer // results
	errOut io.Writer // mistakes, hints, and the log of run

	configPath string // --config
	socket     string // --socket
	json       bool   // --json
}

// run does what args say and returns the exit code. It may be called more than once.
func run(args, env []string, in io.Reader, out, errOut io.Writer) int {
	a := &app{env: env, in: in, out: out, errOut: errOut}
	root := a.root()
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err != nil {
		a.complain(cmd, err)
	}
	return codeOf(err)
}

// complain says what went wrong and, after wrong use, where to read on.
func (a *app) complain(cmd *cobra.Command, err error) {
	var mistakes config.Errors
	switch {
	case errors.As(err, &mistakes):
		fmt.Fprintln(a.errOut, mistakes) // each has its place in front
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(a.errOut, "gatepost: interrupted")
	default:
		fmt.Fprintln(a.errOut, "gatepost: "+err.Error())
	}
	if errors.Is(err, errUsage) {
		fmt.Fprintf(a.errOut, "Run `%s --help` for how to use it.\n", cmd.CommandPath())
	}
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "gatepost",
		Short: "Gives every MQTT device a place in Matrix",
		Long: `gatepost gives every MQTT device a place in Matrix: a room, an identity, and
messages both ways that survive crashes.

Begin with "gatepost init", look at what it wrote with "gatepost check", then
"gatepost run".

Exit codes: 0 done, 1 failed, 2 wrong use, 3 bad configuration, 4 the store
cannot be read or is from a newer version, 130 interrupted.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              noSubcommand,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.errOut)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.PersistentFlags().StringVarP(&a.configPath, "config", "c", "gatepost.yaml", "the configuration `file`")
	root.AddGroup(
		&cobra.Group{ID: "setup", Title: "Set up and run:"},
		&cobra.Group{ID: "running", Title: "Look at and steer a running gatepost:"},
		&cobra.Group{ID: "store", Title: "Keep the data:"},
	)
	a.add(root, "setup", a.initCommand(), a.checkCommand(), a.tryCommand(), a.runCommand(), a.registrationCommand(), a.versionCommand())
	a.add(root, "running", a.sendCommand(), a.devicesCommand(), a.roomsCommand(), a.commandsCommand(), a.alarmsCommand(), a.callsCommand(), a.outboxCommand(), a.deadLettersCommand(), a.brokerCommand(), a.turnCommand(), a.verifyCommand())
	a.add(root, "store", a.backupCommand(), a.restoreCommand(), a.compactCommand())
	return root
}

func (a *app) add(root *cobra.Command, group string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = group
		if group == "running" {
			a.socketFlag(c)
		}
		root.AddCommand(c)
	}
}

// noSubcommand refuses a word that is no subcommand, and says which may have been meant.
func noSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no %q in %q", args[0], cmd.CommandPath())
	if cmd.SuggestionsMinimumDistance <= 0 {
		cmd.SuggestionsMinimumDistance = 2
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += fmt.Sprintf(": did you mean %q?", near[0])
	}
	return usageError{errors.New(text)}
}

// args makes a wrong number of arguments wrong use.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, words []string) error {
		if err := check(cmd, words); err != nil {
			return usageError{err}
		}
		return nil
	}
}

// need refuses a command without the flags it cannot do without. (Cobra's own required flags would not be wrong use.)
func need(cmd *cobra.Command, flags ...string) error {
	for _, f := range flags {
		if !cmd.Flags().Changed(f) {
			return usageError{fmt.Errorf("--%s is needed", f)}
		}
	}
	return nil
}

// untilSignal calls f with a context that SIGINT or SIGTERM ends. What f returns after that is an interruption.
func untilSignal(f func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := f(ctx)
	if err != nil && ctx.Err() != nil && !errors.Is(err, context.Canceled) {
		err = errors.Join(context.Canceled, err)
	}
	return err
}

// load reads the configuration and shows its warnings.
func (a *app) load() (*config.Config, error) {
	return config.Load(a.configPath, a.env)
}

func (a *app) socketFlag(cmd *cobra.Command) {
	cmd.PersistentFlags().StringVar(&a.socket, "socket", "", "the gateway's control socket, instead of the one in the configuration")
}

// client finds the running gateway.
func (a *app) client() (*admin.Client, error) {
	if a.socket != "" {
		return admin.NewClient(a.socket), nil
	}
	cfg, err := a.load()
	if err != nil {
		return nil, err
	}
	return admin.NewClient(cfg.Admin.Socket), nil
}

// ask calls a verb of the running gateway.
func (a *app) ask(verb string, in, out any) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	return untilSignal(func(ctx context.Context) error {
		return a.explain(client.Call(ctx, verb, in, out))
	})
}

// explain adds to an error what to do about it.
func (a *app) explain(err error) error {
	if errors.Is(err, admin.ErrNotRunning) {
		return fmt.Errorf("%w: start it with `gatepost run --config %s`", err, a.configPath)
	}
	return err
}
