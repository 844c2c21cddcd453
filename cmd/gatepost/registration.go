package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/internal/config"
)

func (a *app) registrationCommand() *cobra.Command {
	var url string
	var renew bool
	cmd := &cobra.Command{
		Use:   "registration",
		Short: "Write the application service registration, and say what to tell the homeserver",
		Long: `Write the registration that the configuration names (matrix.registration) if there
is none, check the one that is there, and print the lines that the homeserver's
own configuration needs.

With --renew both tokens are made anew; the old file is kept beside it. The
homeserver must then be restarted too.`,
		Example: `  gatepost registration
  gatepost registration --url http://gatepost.lan:29333`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			if cfg.Matrix == nil || cfg.Matrix.Mode != config.ModeAppservice {
				return cfg.At("matrix.mode", errors.New("a registration belongs to the mode appservice only"))
			}
			if url == "" {
				url = reachable(cfg.Matrix.Listen)
			}
			if err := a.ensureRegistration(cfg.Matrix, url, renew); err != nil {
				return err
			}
			return homeserverLines(a.out, cfg.Matrix.Registration)
		},
	}
	cmd.Flags().StringVar(&url, "url", "", "where the homeserver reaches gatepost (default http:// and matrix.listen)")
	cmd.Flags().BoolVar(&renew, "renew", false, "make new tokens")
	return cmd
}

// ensureRegistration leaves a good registration in its place.
func (a *app) ensureRegistration(m *config.Matrix, url string, renew bool) error {
	_, err := os.Lstat(m.Registration)
	switch {
	case err == nil && !renew:
		reg, err := config.LoadRegistration(m.Registration)
		if err != nil {
			return err
		}
		for _, w := range reg.Warnings {
			fmt.Fprintln(a.errOut, "warning: "+w)
		}
		if err := reg.Covers(m); err != nil {
			return err
		}
		_, err = fmt.Fprintf(a.out, "%s is good.\n", m.Registration)
		return err
	case err == nil:
		old := m.Registration + ".old"
		if err := os.Rename(m.Registration, old); err != nil {
			return fmt.Errorf("keep the old registration: %w", err)
		}
		if _, err := fmt.Fprintf(a.out, "The old one is kept as %s.\n", old); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("registration: %w", err)
	}
	reg := config.NewRegistration(m, url, rand.Text()+rand.Text(), rand.Text()+rand.Text())
	if err := writeNew(m.Registration, reg.YAML()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.out, "Wrote %s.\n", m.Registration)
	return err
}

// reachable is the URL of a listen address, seen from the same machine.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "http://" + listen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// homeserverLines says what the homeserver must be told.
func homeserverLines(w io.Writer, registration string) error {
	path, err := filepath.Abs(registration)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, `
The homeserver must read the same file (copy it if it runs elsewhere, readable
by its user) and be restarted:

  Synapse, homeserver.yaml        app_service_config_files:
                                    - %[1]s

  Dendrite, dendrite.yaml         app_service_api:
                                    config_files:
                                      - %[1]s

  Conduit                         in the admin room, with the text of the file in a code block below:
                                    @conduit:SERVER: register-appservice
  conduwuit, Continuwuity,        likewise:
  Tuwunel                           !admin appservices register
`, path)
	return err
}

// writeNew writes a file of mode 0600 that must not be there yet, and makes it durable.
func writeNew(path string, text []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already and is not replaced: move it away first", path)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path) // half a file would be in the way of the next try
		}
	}()
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
