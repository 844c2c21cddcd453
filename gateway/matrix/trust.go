//go:build goolm

package matrix

import (
	"context"

	"github.com/gatepost/gatepost/internal/ids"
)

// Identity says how the bot's device stands, and which verifications are under way.
func (c *Client) Identity(ctx context.Context) (i Identity, err error) {
	if c.engine == nil {
		return i, ErrNoEncryption
	}
	err = c.engine.keeper.inside(ctx, func(ctx context.Context, k *keeper) error {
		i = k.about()
		return nil
	})
	return i, err
}

// AnswerVerification says for somebody at the gateway whether the emoji of a verification agree.
func (c *Client) AnswerVerification(ctx context.Context, id string, agree bool) error {
	if c.engine == nil {
		return ErrNoEncryption
	}
	return c.engine.keeper.inside(ctx, func(ctx context.Context, k *keeper) error { return k.flows.answer(ctx, id, agree) })
}

// SetupIdentity gives a recovery key, the same one until RecoveryShown, and makes the bot's keys anew where their seeds are lost and
// the homeserver lets us.
func (c *Client) SetupIdentity(ctx context.Context) (recovery string, err error) {
	if c.engine == nil {
		return "", ErrNoEncryption
	}
	err = c.engine.keeper.inside(ctx, func(ctx context.Context, k *keeper) error {
		recovery, err = k.setup(ctx)
		return err
	})
	return recovery, err
}

// RecoveryShown says that somebody has the recovery key now.
func (c *Client) RecoveryShown(ctx context.Context) error {
	if c.engine == nil {
		return ErrNoEncryption
	}
	return c.engine.keeper.inside(ctx, func(_ context.Context, k *keeper) error { return k.shown() })
}

// AcceptIdentity takes the keys that somebody has now for theirs, which are others than those that were seen first. ErrNoIdentity: they
// have none.
func (c *Client) AcceptIdentity(ctx context.Context, user ids.UserID) error {
	if c.engine == nil {
		return ErrNoEncryption
	}
	return c.engine.keeper.inside(ctx, func(ctx context.Context, k *keeper) error { return k.accept(ctx, user) })
}

// RecoverIdentity signs the bot's device with the seeds that a recovery key opens.
func (c *Client) RecoverIdentity(ctx context.Context, recovery string) error {
	if c.engine == nil {
		return ErrNoEncryption
	}
	return c.engine.keeper.inside(ctx, func(ctx context.Context, k *keeper) error { return k.recover(ctx, recovery) })
}
