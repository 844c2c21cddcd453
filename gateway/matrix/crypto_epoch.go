//go:build goolm

package matrix

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/logkey"
)

// An epoch is a random word that the crypto file and the bot's account data on the homeserver share. Both get a new one when
// the bot starts and stops, and every hour. A copy of the file that was brought back, as part of a disk, say, has one that is
// over: its ratchets have turned since, so its device is given up.

// epochRow is the epoch of the file: what the homeserver was found to have, and what it was asked to have then.
type epochRow struct{ Was, Next string }

// epochContent is the content of the account data.
type epochContent struct {
	Device id.DeviceID `json:"device"`
	Epoch  string      `json:"epoch"`
}

const (
	rowEpoch    = "epoch"
	epochType   = "dev.gatepost.crypto" // of account data
	epochEvery  = time.Hour
	epochAtStop = 2 * time.Second // so long a stop waits for the homeserver
)

// renew begins a new epoch; current is false, and nothing changes, when the one of the file is over. A homeserver that keeps no
// account data can't tell.
func (e *engine) renew(ctx context.Context, device id.DeviceID) (current bool, err error) {
	e.epoch.Lock()
	defer e.epoch.Unlock()
	var row epochRow
	e.store.mu.Lock()
	_, err = e.store.get(bucketSelf, e.store.key(rowEpoch), &row)
	e.store.mu.Unlock()
	if err != nil {
		return false, err
	}
	var there epochContent
	r := request{endpoint: epDevice, method: http.MethodGet, path: mautrix.ClientURLPath{"v3", "user", e.c.bot, "account_data", epochType}, as: e.c.bot, into: &there}
	err = e.c.do(ctx, r)
	switch o := lane.OutcomeOf(err); {
	case err == nil:
		if there.Device == device && there.Epoch != "" && there.Epoch != row.Was && there.Epoch != row.Next {
			return false, nil
		}
	case o.Code == "M_NOT_FOUND":
	case o.Verdict == lane.Dead:
		return true, nil
	default:
		return false, fmt.Errorf("read the epoch of the bot's keys: %w", err)
	}
	row = epochRow{Was: there.Epoch, Next: rand.Text()}
	e.store.mu.Lock()
	err = e.store.put(bucketSelf, e.store.key(rowEpoch), row)
	e.store.mu.Unlock()
	if err == nil {
		err = e.store.Flush(ctx)
	}
	if err != nil {
		return false, err
	}
	r.method, r.into, r.body = http.MethodPut, nil, epochContent{device, row.Next}
	if err := e.c.do(ctx, r); err != nil && lane.OutcomeOf(err).Verdict != lane.Dead {
		return false, fmt.Errorf("write the epoch of the bot's keys: %w", err)
	}
	e.renewed = e.c.cfg.Now()
	return true, nil
}

// renewNow is renew for a device that is in use. When its epoch is over somebody else turns the same ratchets, and ours stand still
// from then on; the next start gives the device up.
func (e *engine) renewNow(ctx context.Context) {
	m := e.mach.Load()
	if m == nil {
		return
	}
	switch current, err := e.renew(ctx, m.Client.DeviceID); {
	case err != nil:
		e.log.Info("the epoch of the bot's keys could not be renewed", logkey.Error, err.Error())
	case !current:
		if !e.copied.Swap(true) {
			e.log.Error("another program uses a copy of the bot's keys", logkey.Error, ErrCopied)
		}
		e.c.health.set(partKeys, ErrCopied)
	}
}

// renewIfDue is renewNow every epochEvery.
func (e *engine) renewIfDue(ctx context.Context) {
	e.epoch.Lock()
	due := e.c.cfg.Now().Sub(e.renewed) >= epochEvery
	if due {
		e.renewed = e.c.cfg.Now() // what fails is tried in an hour
	}
	e.epoch.Unlock()
	if due {
		e.renewNow(ctx)
	}
}
