//go:build goolm

package matrix

import (
	"encoding/json"
	"fmt"

	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/crypto/ssss"
	"maunium.net/go/mautrix/crypto/utils"
	"maunium.net/go/mautrix/id"
)

// seedsVersion is that of the file's content.
const seedsVersion = 1

// seeds is what the file holds.
type seeds struct {
	Version  int                      `json:"v"`
	User     id.UserID                `json:"user"`
	Keys     crypto.CrossSigningSeeds `json:"keys"`
	Recovery string                   `json:"recovery,omitempty"` // until it was shown
	Escrowed bool                     `json:"escrowed"`           // the homeserver keeps them, too
}

// newRecovery gives the seeds another recovery key; the homeserver has to be told.
func (s *seeds) newRecovery() error {
	key, err := ssss.NewKey("")
	if err != nil {
		return fmt.Errorf("matrix: make a recovery key: %w", err)
	}
	s.Recovery, s.Escrowed = key.RecoveryKey(), false
	return nil
}

func decodeRecovery(text string) ([]byte, error) {
	raw := utils.DecodeBase58RecoveryKey(text)
	if raw == nil {
		return nil, ErrRecoveryKey
	}
	return raw, nil
}

// load reads the file; nil: there is none. Seeds of another bot are none of ours.
func (x *identity) load() (*seeds, error) {
	raw, err := x.file.Load()
	if err != nil || raw == nil {
		return nil, err
	}
	var kept seeds
	if err := json.Unmarshal(raw, &kept); err != nil {
		return nil, fmt.Errorf("matrix: cross-signing seeds: %w", err)
	}
	if kept.Version != seedsVersion {
		return nil, fmt.Errorf("matrix: cross-signing seeds: version %d is not known here", kept.Version)
	}
	if kept.User != x.mach.Client.UserID {
		return nil, fmt.Errorf("%w: the seeds here are those of %s", ErrUnsigned, kept.User)
	}
	return &kept, nil
}

func (x *identity) save(kept *seeds) error {
	raw, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("matrix: cross-signing seeds: %w", err)
	}
	return x.file.Save(raw)
}
