package matrix

import "errors"

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
	switch {
	case cfg.Table == nil:
		return errors.New("matrix: Crypto.Table: missing")
	case cfg.Trust != TrustAll && cfg.Trust != TrustCrossSigned && cfg.Trust != TrustVerified:
		return errors.New("matrix: Crypto.Trust: none of all, cross-signed, verified")
	}
	return nil
}
