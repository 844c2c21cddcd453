package main

import (
	"context"
	"log/slog"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/gatepost/gatepost/internal/logkey"
)

// notifier tells systemd how the service is (sd_notify(3)). Where nobody listens it does nothing. Safe for concurrent use.
type notifier struct {
	send     func(state string) (bool, error)
	watchdog time.Duration // how often systemd wants to hear of us; 0 never
	log      *slog.Logger
}

func newNotifier(log *slog.Logger) *notifier {
	watchdog, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd's watchdog is set up wrongly", logkey.Error, err.Error())
	}
	return &notifier{
		send:     func(state string) (bool, error) { return sd.SdNotify(false, state) },
		watchdog: watchdog,
		log:      log,
	}
}

// Ready says that the gateway is up, or that a reload is over.
func (n *notifier) Ready() { n.tell(sd.SdNotifyReady) }

// Reloading says that a reload begins. Ready must follow, whatever becomes of it.
func (n *notifier) Reloading() {
	state := sd.SdNotifyReloading
	if at := sd.SdNotifyMonotonicUsec(); at != "" {
		state += "\n" + at
	}
	n.tell(state)
}

// Stopping says that the gateway is going down.
func (n *notifier) Stopping() { n.tell(sd.SdNotifyStopping) }

// Status shows a line in `systemctl status`.
func (n *notifier) Status(text string) { n.tell("STATUS=" + clean(text, 0)) }

// Watch feeds systemd's watchdog as long as live says that nothing hangs, until ctx is done. When it hangs, systemd
// restarts the service after WatchdogSec.
func (n *notifier) Watch(ctx context.Context, live func() (ok bool, why []string)) {
	if n.watchdog <= 0 {
		return
	}
	tick := time.NewTicker(n.watchdog / 3)
	defer tick.Stop()
	for {
		if ok, why := live(); ok {
			n.tell(sd.SdNotifyWatchdog)
		} else {
			n.log.Error("the watchdog is not fed", logkey.Reason, why)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (n *notifier) tell(state string) {
	if _, err := n.send(state); err != nil {
		n.log.Warn("systemd was not told", logkey.State, state, logkey.Error, err.Error())
	}
}
