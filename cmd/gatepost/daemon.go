package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/internal/logkey"
)

// process is what the gateway gets from the process it runs in. (The wiring is runGateway.)
type process struct {
	Config     *config.Config // as it was at the start
	ConfigPath string
	Env        []string
	Reload     <-chan struct{} // SIGHUP: read the configuration again; several at once count as one
	Cut        context.Context // done after a second signal: stop waiting for anything
	Notify     *notifier
	Log        *slog.Logger
	Level      *slog.LevelVar // the log's level, to be set after a reload
}

func (a *app) runCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "run",
		Short: "Run the gateway",
		Long: `Run the gateway until SIGTERM or SIGINT; it then stops within 5 s with everything
committed and exits with 0. A second signal cuts that short (130); nothing that
was acknowledged is lost by that either. SIGHUP reads the configuration again;
a bad one changes nothing and is reported in the log.`,
		Example: `  gatepost run
  gatepost run --config /etc/gatepost/gatepost.yaml`,
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			log, level := newLog(a.errOut, cfg.Log)
			for _, w := range cfg.Warnings {
				log.Warn("configuration", logkey.Reason, w)
			}
			signals := make(chan os.Signal, 4)
			signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer signal.Stop(signals)
			p := process{Config: cfg, ConfigPath: a.configPath, Env: a.env, Notify: newNotifier(log), Log: log, Level: level}
			return supervise(p, signals, runGateway)
		},
	}
}

// supervise runs the gateway and turns signals into what it understands: the first SIGINT or SIGTERM ends its context, the
// second its Cut, and if it still has not returned the third ends the wait.
func supervise(p process, signals <-chan os.Signal, gateway func(context.Context, process) error) error {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	cut, cutShort := context.WithCancel(context.Background())
	defer cutShort()
	reload := make(chan struct{}, 1)
	p.Cut, p.Reload = cut, reload
	done := make(chan error, 1)
	go func() { done <- gateway(ctx, p) }()
	for {
		select {
		case err := <-done:
			if cut.Err() != nil {
				return errors.Join(context.Canceled, err)
			}
			return err
		case sig := <-signals:
			switch {
			case sig == syscall.SIGHUP:
				select {
				case reload <- struct{}{}:
				default: // one waits already
				}
			case ctx.Err() == nil:
				p.Log.Info("stopping", logkey.Reason, sig.String())
				p.Notify.Stopping()
				stop()
			case cut.Err() == nil:
				p.Log.Warn("stopping at once", logkey.Reason, sig.String())
				cutShort()
			default:
				return fmt.Errorf("the gateway does not stop: %w", context.Canceled)
			}
		}
	}
}

// newLog makes the program's logger as the log section says. The level can be changed while it is in use.
func newLog(w io.Writer, cfg config.Log) (*slog.Logger, *slog.LevelVar) {
	level := new(slog.LevelVar)
	level.Set(cfg.Level)
	opts := &slog.HandlerOptions{Level: level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opts)), level
	}
	return slog.New(slog.NewTextHandler(w, opts)), level
}
