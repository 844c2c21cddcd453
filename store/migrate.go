package store

import (
	"fmt"

	"go.etcd.io/bbolt"
)

// migration changes a file of one schema version to the next. It runs inside one transaction with all that follow.
type migration func(*bbolt.Tx) error

// migrations holds the steps by the version they start from.
func migrations() map[uint64]migration { return map[uint64]migration{} }

// migrate brings the file to the version target, in one transaction: a crash leaves the old file as it was.
func migrate(db *bbolt.DB, steps map[uint64]migration, target uint64) error {
	return db.Update(func(tx *bbolt.Tx) error {
		version, err := readSchema(tx)
		if err != nil {
			return fmt.Errorf("%w: schema version: %w", ErrCorrupt, err)
		}
		if version > target {
			return fmt.Errorf("%w: it has schema %d, this one knows %d; install the gatepost that wrote it", ErrNewer, version, target)
		}
		if version == target {
			return nil
		}
		for ; version < target; version++ {
			step, ok := steps[version]
			if !ok {
				return fmt.Errorf("%w: no way from schema %d to %d", ErrCorrupt, version, version+1)
			}
			if err := step(tx); err != nil {
				return fmt.Errorf("store: migrate from schema %d: %w", version, err)
			}
		}
		return writeSchema(tx, target)
	})
}
