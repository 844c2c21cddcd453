package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/internal/admin"
	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/store"
)

func (a *app) restoreCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a backup back in place",
		Long: `Put a backup back in place while no gatepost runs: check it as a whole, then the
store's folder. Without a configuration at --config that, too, comes from the
backup, with the secrets it names; files that are there already stay as they are.

A store that is there is not replaced unless --force is given; it is then kept in a
folder beside the new one. Run it as the user of the gateway.

What devices and people said after the backup was made is not in it.`,
		Example: `  gatepost restore gatepost-2026-11-22.tar
  gatepost restore --force --config /etc/gatepost/gatepost.yaml gatepost.tar`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, words []string) error {
			return untilSignal(func(ctx context.Context) error { return a.restore(ctx, words[0], force) })
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "even if there is a store; it is kept under another name")
	return cmd
}

func (a *app) restore(ctx context.Context, file string, force bool) (err error) {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer func() { _ = f.Close() }()
	staging, err := a.restoreStaging(ctx, force)
	if err != nil {
		return err
	}
	unpacked, err := os.MkdirTemp(staging, ".restore-")
	if err != nil {
		return fmt.Errorf("restore: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(unpacked)) }()
	m, err := readArchive(ctx, f, unpacked)
	if err != nil {
		return fmt.Errorf("restore: %s %w", file, err)
	}
	for _, name := range m.databases() {
		if err := checkSnapshot(filepath.Join(unpacked, dataPrefix, name)); err != nil {
			return fmt.Errorf("restore: %s in %s: %w", name, file, err)
		}
	}
	files, err := a.restoreConfig(m, unpacked)
	if err != nil {
		return err
	}
	kept, err := a.restoreData(ctx, m, unpacked, force)
	if err != nil {
		return errors.Join(err, files.undo())
	}
	return a.tellRestored(file, m, files, kept)
}

// restoreStaging is the folder in which to unpack: the store's, so that renames suffice, or without a configuration the
// one where that will be. It finds early what would be in the way.
func (a *app) restoreStaging(ctx context.Context, force bool) (string, error) {
	there, err := exists(a.configPath)
	if err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	folder := filepath.Dir(a.configPath)
	if there {
		cfg, err := a.load()
		if err != nil {
			return "", err
		}
		if err := mayRestore(ctx, cfg, force); err != nil {
			return "", err
		}
		folder = cfg.Store.Path
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	return folder, nil
}

// mayRestore refuses where a gatepost runs, or a store is in the way and force is not given.
func mayRestore(ctx context.Context, cfg *config.Config, force bool) error {
	err := admin.NewClient(cfg.Admin.Socket).Ping(ctx)
	if err == nil {
		err = fmt.Errorf("a gatepost is running on %s: stop it first", cfg.Admin.Socket)
	}
	if !errors.Is(err, admin.ErrNotRunning) {
		return fmt.Errorf("restore: %w", err)
	}
	there, err := exists(filepath.Join(cfg.Store.Path, storeFile))
	switch {
	case err != nil:
		return fmt.Errorf("restore: %w", err)
	case !there:
		return nil
	case !force:
		return fmt.Errorf("restore: there is a store in %s: with --force it is kept under another name", cfg.Store.Path)
	}
	if _, err := store.Check(cfg.Store.Path); errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("restore: %w", err) // whatever else is wrong with it is why it is replaced
	}
	return nil
}

// checkSnapshot refuses a database that could not be opened afterwards.
func checkSnapshot(path string) error {
	report, err := store.CheckFile(path)
	if err == nil && !report.Readable() {
		err = report.Err()
	}
	return err
}

func (a *app) tellRestored(file string, m manifest, files configFiles, kept string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Restored %s, as it was at %s.\n", file, m.Made.Format(time.RFC3339))
	for _, path := range files.written {
		fmt.Fprintf(&b, "Wrote %s.\n", path)
	}
	if kept != "" {
		fmt.Fprintf(&b, "What was there is kept in %s.\n", kept)
	}
	for _, path := range files.different {
		fmt.Fprintf(&b, "Left alone: %s; the backup has another.\n", path)
	}
	for _, e := range m.Entries {
		if name, ok := strings.CutPrefix(e.Name, elsewherePrefix); ok {
			fmt.Fprintf(&b, "Not restored: /%s, outside the configuration's folder; `tar -xf` unpacks it.\n", clean(name, 0))
		}
	}
	_, err := fmt.Fprint(a.out, b.String())
	return err
}

// configFiles is what a restore did beside the configuration.
type configFiles struct {
	written   []string // made by us
	different []string // left alone although the backup has it otherwise
}

// undo takes back what was written, when the restore fails after all.
func (c configFiles) undo() error {
	var errs []error
	for _, path := range c.written {
		errs = append(errs, os.Remove(path))
	}
	return errors.Join(errs...)
}

// restoreConfig puts the configuration and the files beside it where none are.
func (a *app) restoreConfig(m manifest, unpacked string) (configFiles, error) {
	var out configFiles
	for _, e := range m.Entries {
		name, ok := strings.CutPrefix(e.Name, configPrefix)
		if !ok {
			continue
		}
		target := filepath.Join(filepath.Dir(a.configPath), filepath.FromSlash(name))
		if e.Name == configName {
			target = a.configPath
		}
		text, err := os.ReadFile(filepath.Join(unpacked, filepath.FromSlash(e.Name)))
		if err != nil {
			return out, errors.Join(fmt.Errorf("restore: %w", err), out.undo())
		}
		there, err := os.ReadFile(target)
		switch {
		case err == nil:
			if !bytes.Equal(text, there) {
				out.different = append(out.different, target)
			}
			continue
		case !errors.Is(err, fs.ErrNotExist):
			return out, errors.Join(fmt.Errorf("restore: %w", err), out.undo())
		}
		if err := os.MkdirAll(filepath.Dir(target), 0o700); err != nil {
			return out, errors.Join(fmt.Errorf("restore: %w", err), out.undo())
		}
		if err := writeNew(target, text); err != nil {
			return out, errors.Join(fmt.Errorf("restore: %w", err), out.undo())
		}
		out.written = append(out.written, target)
	}
	return out, nil
}

// restoreData puts the databases, and what else the store's folder has, in their place. Those that were there are kept in a folder of the store's folder, whose
// name is returned, "" when there were none. At no moment is there no store where there was one.
func (a *app) restoreData(ctx context.Context, m manifest, unpacked string, force bool) (kept string, err error) {
	cfg, err := a.load()
	if err != nil {
		return "", err
	}
	if err := mayRestore(ctx, cfg, force); err != nil {
		return "", err
	}
	target := cfg.Store.Path
	if err := os.MkdirAll(target, 0o700); err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	aside := filepath.Join(target, "before-"+time.Now().UTC().Format("20060102T150405Z"))
	keys := filepath.Join(target, cryptoFile) // they belong to what is replaced; the bot gets a new device
	if there, err := exists(keys); err != nil {
		return "", fmt.Errorf("restore: %w", err)
	} else if there {
		if err := os.Remove(keys); err != nil {
			return "", fmt.Errorf("restore: %w", err)
		}
	}
	for _, name := range m.data() {
		old := filepath.Join(target, name)
		there, err := exists(old)
		if err != nil {
			return "", fmt.Errorf("restore: %w", err)
		}
		if there {
			kept = aside
			if err := keepAside(old, aside); err != nil {
				return "", fmt.Errorf("restore: keep %s: %w", old, err)
			}
		}
		if err := moveFile(ctx, filepath.Join(unpacked, dataPrefix, name), old); err != nil {
			return "", fmt.Errorf("restore: %w", err)
		}
	}
	if err := syncDir(target); err != nil {
		return "", fmt.Errorf("restore: %w", err)
	}
	return kept, nil
}

// keepAside makes a second name for a file in a folder, or a copy where the disk cannot do that.
func keepAside(file, folder string) error {
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	second := filepath.Join(folder, filepath.Base(file))
	if os.Link(file, second) == nil {
		return syncDir(folder)
	}
	if err := copyNew(context.Background(), file, second); err != nil {
		return err
	}
	return syncDir(folder)
}

// moveFile puts a file in the place of another, at once and durably (but for the folder), also from another disk.
func moveFile(ctx context.Context, from, to string) error {
	if err := syncFile(from); err != nil {
		return err
	}
	if os.Rename(from, to) == nil {
		return nil
	}
	partial := to + ".partial"
	if err := os.Remove(partial); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := copyNew(ctx, from, partial); err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	return os.Rename(partial, to)
}

// copyNew copies a file to a name that is free and makes it durable.
func copyNew(ctx context.Context, from, to string) (err error) {
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := copyFile(ctx, f, from); err != nil {
		return err
	}
	return f.Sync()
}

// syncDir makes new names in a folder durable.
func syncDir(dir string) error { return syncFile(dir) }

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
