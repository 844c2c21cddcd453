package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gatepost/gatepost/gateway"
	"github.com/gatepost/gatepost/gateway/matrix"
	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
	"github.com/gatepost/gatepost/store"
)

// The files of encryption, beside the store's. The first is in no backup: what it holds must never be brought back.
const (
	cryptoFile    = "gatepost-crypto.db"
	cryptoKeyFile = "gatepost-crypto.key"
)

// cryptoKeyVariable may hold what crypto.key_file would.
const cryptoKeyVariable = "GATEPOST_CRYPTO_KEY"

// policies are the encryption that the configuration asks for, with their places.
func policies(cfg *config.Config) map[string]string {
	out := map[string]string{}
	if cfg.Matrix == nil {
		return out
	}
	out["matrix.encryption"] = cfg.Matrix.Encryption
	for i, d := range cfg.Devices {
		if d.Encryption != "" {
			out[fmt.Sprintf("devices[%d].encryption", i)] = d.Encryption
		}
	}
	return out
}

// encrypts says whether the bot takes part in encrypted rooms.
func encrypts(cfg *config.Config) bool {
	for _, p := range policies(cfg) {
		if p != config.EncryptionOff {
			return matrix.CanEncrypt
		}
	}
	return false
}

// checkCrypto finds what a program without encryption can't do.
func checkCrypto(cfg *config.Config) error {
	var errs []error
	for path, p := range policies(cfg) {
		if !matrix.CanEncrypt && (p == config.EncryptionDefault || p == config.EncryptionRequire) {
			errs = append(errs, cfg.At(path, fmt.Errorf("%q is not possible: this program was built without encryption (build tag goolm)", p)))
		}
	}
	return config.Join(errs...)
}

// warnCrypto says once that a program without encryption stays silent where people turn it on.
func warnCrypto(cfg *config.Config, log *slog.Logger) {
	for _, p := range policies(cfg) {
		if p == config.EncryptionAllow && !matrix.CanEncrypt {
			log.Warn("this program was built without encryption (build tag goolm): nothing is sent to rooms where people turn it on")
			return
		}
	}
}

// openCrypto opens the crypto file, or makes it. One that can't be read is put aside: the bot then gets a new device, as if
// the file had been lost.
func (d *daemon) openCrypto() error {
	o := store.TableOptions{Path: d.cfg.Store.Path, Name: cryptoFile, Buckets: matrix.CryptoBuckets(), Log: d.p.Log}
	t, err := store.OpenTable(o)
	if errors.Is(err, store.ErrCorrupt) {
		path := filepath.Join(o.Path, o.Name)
		d.p.Log.Error("the file of encryption keys can't be read; it is put aside and the bot gets a new device", logkey.File, path, logkey.Error, err.Error())
		if err := os.Rename(path, path+".damaged"); err != nil {
			return err
		}
		t, err = store.OpenTable(o)
	}
	d.crypto = t
	return err
}

// cryptoConfig is what the bot needs to encrypt; nil when it does not.
func (d *daemon) cryptoConfig() (*matrix.CryptoConfig, error) {
	if !encrypts(d.cfg) {
		return nil, nil
	}
	key, err := cryptoKey(d.cfg, d.p.Env, d.p.Log)
	if err != nil {
		return nil, err
	}
	if err := d.openCrypto(); err != nil {
		return nil, err
	}
	c := &matrix.CryptoConfig{
		Table: cryptoTable{d.crypto}, Key: key, Seeds: newSeedFile(d.cfg.Store.Path), Verification: d.verification,
		Owner:    func(u ids.UserID) bool { return slices.Contains(d.cfg.Matrix.Owners, u) },
		KeysCame: func() { d.gateway.KeysCame() },
		Replaced: func() {
			d.gateway.Alert("My keys for encrypted rooms were lost, or old ones came back, so I have a new device. What was said before can't be read by me; everything from now on can.", "device")
		},
	}
	if d.cfg.Crypto != nil {
		c.Trust = matrix.Trust(d.cfg.Crypto.Trust)
	}
	return c, nil
}

// cryptoKey is the secret that closes the crypto file: of crypto.key_file, of the environment, or of a file beside the store
// that is made when there is none.
func cryptoKey(cfg *config.Config, env []string, log *slog.Logger) ([]byte, error) {
	path := filepath.Join(cfg.Store.Path, cryptoKeyFile)
	if cfg.Crypto != nil && cfg.Crypto.KeyFile != "" {
		text, err := os.ReadFile(cfg.Crypto.KeyFile)
		if err != nil {
			return nil, config.Join(cfg.At("crypto.key_file", err))
		}
		key, err := goodKey(text)
		if err != nil {
			return nil, config.Join(cfg.At("crypto.key_file", err))
		}
		return key, nil
	}
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, cryptoKeyVariable+"="); ok && value != "" {
			key, err := goodKey([]byte(value))
			if err != nil {
				return nil, config.Join(fmt.Errorf("%s: %w", cryptoKeyVariable, err))
			}
			return key, nil
		}
	}
	text, err := os.ReadFile(path)
	if err == nil {
		key, err := goodKey(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return key, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // never fails
	text = []byte(hex.EncodeToString(random) + "\n")
	if err := writeNew(path, text); err != nil {
		return nil, err
	}
	log.Info("made a key for the file of encryption keys; crypto.key_file can name another place for it", logkey.File, path)
	return goodKey(text)
}

func goodKey(text []byte) ([]byte, error) {
	key := []byte(strings.TrimSpace(string(text)))
	if len(key) < 16 {
		return nil, errors.New("a key of at least 16 bytes is needed, such as what “openssl rand -hex 32” prints")
	}
	return key, nil
}

// cryptoTable is what the bot's encryption sees of its file.
type cryptoTable struct{ table *store.Table }

func (t cryptoTable) View(f func(matrix.CryptoRows) error) error {
	return t.table.View(func(r *store.Rows) error { return f(r) })
}

func (t cryptoTable) Commit(bytes int, f func(matrix.CryptoRows) error) error {
	return t.table.Commit(store.TableWork{Bytes: bytes, Work: func(r *store.Rows) error { return f(r) }})
}

// encryption is a policy as the gateway knows it.
func encryption(policy string) gateway.Encryption {
	return map[string]gateway.Encryption{
		config.EncryptionOff: gateway.EncryptionOff, config.EncryptionAllow: gateway.EncryptionAllow,
		config.EncryptionDefault: gateway.EncryptionDefault, config.EncryptionRequire: gateway.EncryptionRequire,
	}[policy]
}
