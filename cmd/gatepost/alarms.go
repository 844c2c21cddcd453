package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

// alarmInfo is an alarm that was raised and is not over.
type alarmInfo struct {
	Device string    `json:"device"`
	Name   string    `json:"name"` // of the device
	Text   string    `json:"text"`
	Since  time.Time `json:"since,omitzero"`
}

func (c *controller) Alarms(ctx context.Context) ([]alarmInfo, error) {
	list, err := c.d.gateway.Alarms(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]alarmInfo, 0, len(list))
	for _, a := range list {
		out = append(out, alarmInfo{Device: string(a.Device), Name: a.Name, Text: a.Text, Since: a.Since})
	}
	return out, nil
}

func (a *app) alarmsCommand() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "alarms",
		Short: "List the alarms that are raised",
		Long: `List the alarms that were raised and are not over: those of the rules (alarms:,
silence:) and those that devices raise themselves.`,
		Example: "  gatepost alarms",
		Args:    args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			var alarms []alarmInfo
			if err := a.ask(verbAlarms, nil, &alarms); err != nil {
				return err
			}
			now := time.Now()
			return list(a, alarms, "No alarm.", []string{"SINCE", "DEVICE", "NAME", "ALARM"}, func(i alarmInfo) []string {
				return []string{age(now, i.Since), i.Device, i.Name, i.Text}
			})
		},
	})
}
