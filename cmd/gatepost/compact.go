package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/internal/admin"
	"github.com/gatepost/gatepost/store"
)

func (a *app) compactCommand() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "compact",
		Short: "Make the store's files as small as they can be",
		Long: `Make the store's files, the embedded broker's too, as small as they can be while no
gatepost runs. It is seldom
needed: space that becomes free is used again, and a file that is
mostly empty is made smaller when gatepost starts. There must be room on the disk
for a copy.`,
		Example: "  gatepost compact",
		Args:    args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			err = admin.NewClient(cfg.Admin.Socket).Ping(context.Background())
			if err == nil {
				return fmt.Errorf("a gatepost is running on %s: stop it first", cfg.Admin.Socket)
			}
			if !errors.Is(err, admin.ErrNotRunning) {
				return err
			}
			if err := storeThere(cfg); err != nil {
				return err
			}
			before, after, err := store.Compact(cfg.Store.Path, brokerFile)
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(a.out, map[string]int64{"before": before, "after": after})
			}
			_, err = fmt.Fprintf(a.out, "The store was %s and is %s.\n", size(before), size(after))
			return err
		},
	})
}
