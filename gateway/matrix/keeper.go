//go:build goolm

package matrix

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// keeper looks after whom the bot trusts and who trusts the bot: its cross-signing, and verifications. Everything happens in the
// goroutine of run; others put work into its queue.
type keeper struct {
	e     *engine
	queue chan func(context.Context)
	over  chan struct{} // closed when run has ended

	// Of run alone.
	flows   verifications
	mach    *crypto.OlmMachine // the one that identity is of
	id      *identity
	signed  bool
	problem error // why it is not signed
	next    time.Time
	wait    time.Duration
}

const (
	keeperQueue = 64              // events and wishes that wait; more are dropped, and people ask again
	keeperTick  = 2 * time.Second // between two looks at what is due
)

func newKeeper(e *engine) *keeper {
	k := &keeper{e: e, queue: make(chan func(context.Context), keeperQueue), over: make(chan struct{})}
	k.flows = verifications{
		world: k, owner: e.cfg.Owner, random: rand.Reader, now: e.c.cfg.Now, changed: e.cfg.Verification,
	}
	return k
}

// run does the work until ctx is done.
func (k *keeper) run(ctx context.Context) {
	defer close(k.over)
	tick := time.NewTicker(keeperTick)
	defer tick.Stop()
	for {
		k.tend(ctx)
		select {
		case f := <-k.queue:
			f(ctx)
		case <-tick.C:
			k.e.renewIfDue(ctx)
			if err := k.flows.tick(ctx); err != nil {
				k.failed(err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// inside runs f in the goroutine of run and returns what it returned.
func (k *keeper) inside(ctx context.Context, f func(context.Context, *keeper) error) error {
	done := make(chan error, 1)
	select {
	case k.queue <- func(running context.Context) {
		both, cancel := context.WithCancel(ctx)
		defer context.AfterFunc(running, cancel)()
		defer cancel()
		done <- f(both, k)
	}:
	case <-k.over:
		return ErrNoEncryption
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-done:
		return err
	case <-k.over:
		return ErrNoEncryption
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take puts an event of a verification into the queue. It does not block.
func (k *keeper) take(e verifyEvent) {
	select {
	case k.queue <- func(ctx context.Context) {
		if err := k.flows.take(ctx, e); err != nil {
			k.failed(err)
		}
	}:
	default:
		k.e.c.metrics.ignored.Inc()
	}
}

func (k *keeper) failed(err error) {
	k.e.log.Warn("a verification met trouble", logkey.Error, err.Error())
}

// tend signs the bot's device, once there is one, and tries again what failed.
func (k *keeper) tend(ctx context.Context) {
	mach := k.e.mach.Load()
	if k.e.cfg.Seeds == nil {
		k.mach = mach
		return
	}
	if mach == nil || k.mach == mach && (k.signed || time.Now().Before(k.next)) {
		return
	}
	if k.mach != mach {
		k.mach, k.signed, k.wait = mach, false, firstWait
		k.id = k.identity(mach)
	}
	k.tell(k.id.ensure(ctx))
}

func (k *keeper) identity(mach *crypto.OlmMachine) *identity {
	x := &identity{mach: mach, file: sealedSeeds{k.e.cfg.Seeds, k.e.store.seal}, log: k.e.log}
	if k.e.c.cfg.Mode == Account {
		x.password = k.e.c.cfg.Password
	}
	return x
}

// tell notes how the device stands after a try.
func (k *keeper) tell(err error) {
	before := k.problem
	k.signed, k.problem = err == nil, err
	k.next = time.Now().Add(k.wait)
	if k.wait = min(2*k.wait, maxWait); errors.Is(err, ErrUnsigned) {
		k.wait = time.Hour // only a person can help
	}
	if err != nil && (before == nil || before.Error() != err.Error()) {
		k.e.log.Warn("the bot's device is not signed", logkey.Error, err.Error())
	}
}

func (k *keeper) about() Identity {
	i := Identity{User: k.e.c.bot, Signed: k.signed, Verifications: k.flows.list()}
	if k.mach != nil {
		own := k.mach.OwnIdentity()
		i.Device, i.Key = string(own.DeviceID), string(own.SigningKey)
	}
	switch {
	case k.signed:
	case k.e.cfg.Seeds == nil:
		i.Problem = "there is no place for the seeds of signatures"
	case k.problem != nil:
		i.Problem = k.problem.Error()
	default:
		i.Problem = "the homeserver has not been asked yet"
	}
	return i
}

var errNoDevice = errors.New("matrix: the bot has no device for encryption yet")

// ready is the identity, or why there is none.
func (k *keeper) ready() (*identity, error) {
	if k.id == nil {
		return nil, errNoDevice
	}
	return k.id, nil
}

func (k *keeper) setup(ctx context.Context) (string, error) {
	x, err := k.ready()
	if err != nil {
		return "", err
	}
	recovery, err := x.setup(ctx)
	if err == nil {
		k.tell(nil)
	}
	return recovery, err
}

func (k *keeper) shown() error {
	x, err := k.ready()
	if err != nil {
		return err
	}
	return x.shown()
}

func (k *keeper) recover(ctx context.Context, recovery string) error {
	x, err := k.ready()
	if err != nil {
		return err
	}
	if err := x.recover(ctx, recovery); err != nil {
		return err
	}
	k.tell(nil)
	return nil
}

// inRoom sends an event of a verification, which is never sent twice: what is lost is asked for again by the other side.
func (k *keeper) inRoom(ctx context.Context, in ids.RoomID, typ string, content map[string]any) error {
	plain, err := encode(content)
	if err != nil {
		return err
	}
	record := "verify " + ids.NewULID(k.e.c.cfg.Now())
	sealed, err := k.e.encrypt(ctx, in, record, typ, plain, func() ([]byte, error) { return plain, nil })
	if err != nil {
		return err
	}
	defer k.e.sent(in, record)
	err = k.e.c.do(ctx, request{
		endpoint: epSend, method: http.MethodPut, as: k.e.c.bot, body: sealed,
		path: mautrix.ClientURLPath{"v3", "rooms", in, "send", kindEncrypted, ids.NewULID(k.e.c.cfg.Now())},
	})
	if err != nil {
		return fmt.Errorf("matrix: send %s: %w", typ, err)
	}
	return nil
}

// sealedSeeds seals what is in the file.
type sealedSeeds struct {
	file Seeds
	seal *sealer
}

// What the seeds are bound to, so that no row of the crypto file can take their place.
const (
	seedsPlace = "cross-signing seeds"
	seedsRow   = "seeds"
)

func (s sealedSeeds) Load() ([]byte, error) {
	sealed, err := s.file.Load()
	if err != nil || sealed == nil {
		return nil, err
	}
	clear, err := s.seal.open(seedsPlace, []byte(seedsRow), sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: the seeds here are damaged, or sealed with another key than crypto.key_file has", ErrUnsigned)
	}
	return clear, nil
}

func (s sealedSeeds) Save(clear []byte) error {
	if clear == nil {
		return s.file.Save(nil)
	}
	return s.file.Save(s.seal.seal(seedsPlace, []byte(seedsRow), clear))
}

// verify looks after trust until ctx is done.
func (e *engine) verify(ctx context.Context) { e.keeper.run(ctx) }
