package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/internal/admin"
	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/store"
)

func (a *app) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write everything that must not be lost into one file",
		Long: `Write the store, the embedded broker's file, the seeds of the bot's signatures, the configuration and the secrets it
names into one tar file that only you can read. While a gatepost runs it is asked for them and goes on working;
otherwise the files are read. FILE must not exist; "-" is standard output.`,
		Example: `  gatepost backup gatepost-$(date +%F).tar
  gatepost backup - | ssh nas 'cat > gatepost.tar'`,
		Args: args(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, words []string) error {
			return untilSignal(func(ctx context.Context) error { return a.backup(ctx, words[0]) })
		},
	}
	a.socketFlag(cmd)
	return cmd
}

func (a *app) backup(ctx context.Context, file string) error {
	if file == "-" {
		return a.writeBackupTo(ctx, a.out)
	}
	if there, err := exists(file); err != nil || there {
		if err == nil {
			err = fmt.Errorf("%s is there already and is not replaced", file)
		}
		return err
	}
	partial := file + ".partial"
	f, err := os.OpenFile(partial, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	err = a.writeBackupTo(ctx, f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(partial, file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(partial))
	}
	info, err := os.Stat(file)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	_, err = fmt.Fprintf(a.out, "Wrote %s (%s). It holds secrets: keep it where only you can read it.\n", file, size(info.Size()))
	return err
}

// writeBackupTo asks the running gateway or, when none runs, reads the files.
func (a *app) writeBackupTo(ctx context.Context, w io.Writer) error {
	client, err := a.client()
	if err != nil {
		return err
	}
	err = client.Stream(ctx, verbBackup, nil, w)
	if !errors.Is(err, admin.ErrNotRunning) || a.socket != "" {
		return a.explain(err)
	}
	cfg, err := a.load()
	if err != nil {
		return err
	}
	s, err := openOffline(cfg)
	if err != nil {
		return err
	}
	dbs := []database{{storeFile, s.WriteTo}}
	table, err := openBrokerOffline(cfg)
	if table != nil {
		dbs = append(dbs, database{brokerFile, table.WriteTo})
	}
	if err == nil {
		err = writeBackup(ctx, w, cfg, dbs)
	}
	if table != nil {
		err = errors.Join(err, table.Close())
	}
	return errors.Join(err, s.Close())
}

// openBrokerOffline opens the embedded broker's file of a gateway that does not run; nil: there is none.
func openBrokerOffline(cfg *config.Config) (*store.Table, error) {
	there, err := exists(filepath.Join(cfg.Store.Path, brokerFile))
	if err != nil || !there {
		return nil, err
	}
	return store.OpenTable(brokerTable(cfg, nil))
}

// openOffline opens the store of a gateway that does not run. It makes none.
func openOffline(cfg *config.Config) (*store.Store, error) {
	if err := storeThere(cfg); err != nil {
		return nil, err
	}
	return store.Open(store.Options{Path: cfg.Store.Path, MaxSize: int64(cfg.Store.MaxSize)})
}

func storeThere(cfg *config.Config) error {
	there, err := exists(filepath.Join(cfg.Store.Path, storeFile))
	if err == nil && !there {
		err = fmt.Errorf("there is no store in %s", cfg.Store.Path)
	}
	return err
}

// database is one whose snapshot goes into a backup.
type database struct {
	name     string
	snapshot func(io.Writer) (int64, error)
}

// writeBackup writes a whole backup to w: the databases, the configuration and the files it names.
func writeBackup(ctx context.Context, w io.Writer, cfg *config.Config, dbs []database) error {
	if err := sweep(cfg.Store.Path, time.Now()); err != nil {
		return err
	}
	var sources []source
	for _, db := range dbs {
		sources = append(sources, source{dataPrefix + db.name, func(w io.Writer) error {
			_, err := db.snapshot(w)
			return err
		}})
	}
	for _, name := range []string{seedsFile, cryptoKeyFile} { // the second opens the first
		file := filepath.Join(cfg.Store.Path, name)
		if there, err := exists(file); err != nil {
			return fmt.Errorf("backup: %w", err)
		} else if there {
			sources = append(sources, fileSource(dataPrefix+name, file))
		}
	}
	sources = append(sources, fileSource(configName, cfg.File()))
	for _, file := range cfg.Files() {
		name, err := archiveName(filepath.Dir(cfg.File()), file)
		if err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		if name == configName {
			continue
		}
		if there, err := exists(file); err != nil {
			return fmt.Errorf("backup: %w", err)
		} else if there {
			sources = append(sources, fileSource(name, file))
		}
	}
	m := manifest{Version: thisBuild().Version, Made: time.Now().UTC().Truncate(time.Second)}
	if cfg.Matrix != nil {
		m.ServerName = cfg.Matrix.ServerName
	}
	return writeArchive(ctx, w, cfg.Store.Path, m, sources)
}

// sweep removes what backups that were killed have left in the store's folder.
func sweep(dir string, now time.Time) error {
	left, err := filepath.Glob(filepath.Join(dir, ".backup-*"))
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	for _, d := range left {
		info, err := os.Lstat(d)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("backup: %w", err)
		}
		if now.Sub(info.ModTime()) < 24*time.Hour {
			continue // may be in use
		}
		if err := os.RemoveAll(d); err != nil {
			return fmt.Errorf("backup: %w", err)
		}
	}
	return nil
}
