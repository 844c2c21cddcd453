package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) checkCommand() *cobra.Command {
	var show bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the configuration and everything it names",
		Long: `Check the configuration and everything it names: keys and values, topics,
templates, secrets and certificates. All mistakes are reported at once, each as
file:line:column: key: reason. Nothing is started and nobody is asked.`,
		Example: `  gatepost check
  gatepost check --print --config /etc/gatepost/gatepost.yaml`,
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			warnings, err := checkWiring(cfg)
			if err != nil {
				return err
			}
			for _, w := range append(cfg.Warnings, warnings...) {
				fmt.Fprintln(a.errOut, "warning: "+w)
			}
			if show {
				_, err := a.out.Write(cfg.Effective())
				return err
			}
			_, err = fmt.Fprintf(a.out, "%s is good.\n", a.configPath)
			return err
		},
	}
	cmd.Flags().BoolVar(&show, "print", false, "print the whole configuration as it is in effect, without its secrets")
	return cmd
}
