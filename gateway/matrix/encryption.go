package matrix

import (
	"errors"

	"github.com/gatepost/gatepost/internal/ids"
)

// Trust says with which devices of the people in a room its keys are shared.
type Trust string

// The kinds of Trust.
const (
	TrustAll         Trust = "all"          // every device
	TrustCrossSigned Trust = "cross-signed" // those that their owner has signed, with the first keys that we saw
	TrustVerified    Trust = "verified"     // those whose owner we have verified
)

// CryptoConfig says how the bot encrypts.
type CryptoConfig struct {
	Table CryptoTable // required
	Key   []byte      // the secret by which the rows of Table are sealed, at least 16 bytes
	Trust Trust       // "" means TrustCrossSigned
	// KeysCame is called when messages that could not be read before may be readable now. It must not block; nil: nobody.
	KeysCame func()
	// Seeds keeps the bot's cross-signing seeds; nil: the bot's device is not signed.
	Seeds Seeds
	// Owner says who may ask for a verification; nil: nobody.
	Owner func(ids.UserID) bool
	// Verification is called with a verification that was asked for, has something to compare, or has ended. It must not block
	// nor call the Client; nil: nobody.
	Verification func(Verification)
	// Replaced is called when the bot's former device, whose keys are lost, was replaced. It must not block; nil: nobody.
	Replaced func()
}

func (cfg *CryptoConfig) check() error {
	if cfg.Trust == "" {
		cfg.Trust = TrustCrossSigned
	}
	if cfg.KeysCame == nil {
		cfg.KeysCame = func() {}
	}
	if cfg.Replaced == nil {
		cfg.Replaced = func() {}
	}
	if cfg.Verification == nil {
		cfg.Verification = func(Verification) {}
	}
	if cfg.Owner == nil {
		cfg.Owner = func(ids.UserID) bool { return false }
	}
	switch {
	case cfg.Table == nil:
		return errors.New("matrix: Crypto.Table: missing")
	case cfg.Trust != TrustAll && cfg.Trust != TrustCrossSigned && cfg.Trust != TrustVerified:
		return errors.New("matrix: Crypto.Trust: none of all, cross-signed, verified")
	}
	return nil
}
