package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// seedsFile is the name of the file with the bot's cross-signing seeds, in the store's folder. They are apart from the crypto
// file because a backup has them, and must not have that one.
const seedsFile = "gatepost-identity.sealed"

// maxSeeds is more than the file ever holds, in bytes.
const maxSeeds = 64 << 10

// seedFile keeps the seeds, which come sealed.
type seedFile struct{ path string }

func newSeedFile(dir string) seedFile { return seedFile{filepath.Join(dir, seedsFile)} }

func (s seedFile) Load() ([]byte, error) {
	f, err := os.Open(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the bot's seeds: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxSeeds))
	if err != nil {
		return nil, fmt.Errorf("read the bot's seeds: %w", err)
	}
	return b, nil
}

func (s seedFile) Save(b []byte) error {
	var err error
	if b == nil {
		if err = os.Remove(s.path); errors.Is(err, fs.ErrNotExist) {
			return nil
		}
	} else {
		err = replaceFile(s.path, b)
	}
	if err == nil {
		err = syncDir(filepath.Dir(s.path))
	}
	if err != nil {
		return fmt.Errorf("keep the bot's seeds: %w", err)
	}
	return nil
}
