//go:build !goolm

package matrix

import (
	"context"

	"github.com/gatepost/gatepost/internal/ids"
)

// Identity says how the bot's device stands; in this build there is none.
func (c *Client) Identity(context.Context) (Identity, error) { return Identity{}, ErrNoEncryption }

// AnswerVerification is for builds with encryption.
func (c *Client) AnswerVerification(context.Context, string, bool) error { return ErrNoEncryption }

// SetupIdentity is for builds with encryption.
func (c *Client) SetupIdentity(context.Context) (string, error) { return "", ErrNoEncryption }

// RecoveryShown is for builds with encryption.
func (c *Client) RecoveryShown(context.Context) error { return ErrNoEncryption }

// AcceptIdentity is for builds with encryption.
func (c *Client) AcceptIdentity(context.Context, ids.UserID) error { return ErrNoEncryption }

// RecoverIdentity is for builds with encryption.
func (c *Client) RecoverIdentity(context.Context, string) error { return ErrNoEncryption }
