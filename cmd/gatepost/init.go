package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/internal/config"
)

// answers is what init is told.
type answers struct {
	homeserver, serverName, mode, user string
	owners                             []string
	passwordFile                       string // account mode
	mqttListen, mqttURL                string
	dir                                string
}

func (a *app) initCommand() *cobra.Command {
	var in answers
	cmd := &cobra.Command{
		Use:   "init --homeserver URL --server-name NAME --owner @USER:NAME",
		Short: "Write a configuration, and what the homeserver must be told",
		Long: `Write gatepost.yaml and the secrets it names into a folder, all of them readable by
you alone. Files that are there already are never replaced.

As an application service (the default) gatepost makes a user for each device; that
needs a line in the homeserver's own configuration, which is printed. With --mode
account it is an ordinary user with a password, for homeservers that you do not
administer.`,
		Example: `  gatepost init --homeserver http://127.0.0.1:8008 --server-name example.org \
      --owner @alice:example.org
  gatepost init --homeserver https://matrix.example.org --server-name example.org \
      --owner @alice:example.org --mode account --user porchbot --password-file - \
      --mqtt-url mqtt://broker.lan:1883 --dir /etc/gatepost`,
		Args: args(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := need(cmd, "homeserver", "server-name", "owner"); err != nil {
				return err
			}
			return a.init(in)
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.homeserver, "homeserver", "", "`URL` of the homeserver's client API, such as http://127.0.0.1:8008")
	f.StringVar(&in.serverName, "server-name", "", "the `name` after the colon of Matrix ids, such as example.org")
	f.StringArrayVar(&in.owners, "owner", nil, "Matrix id of a `person` who may do everything; may be given again")
	f.StringVar(&in.mode, "mode", config.ModeAppservice, "appservice, or account")
	f.StringVar(&in.user, "user", "gatepost", "`localpart` of gatepost's own user")
	f.StringVar(&in.passwordFile, "password-file", "", "account mode: the `file` with that user's password; - is standard input")
	f.StringVar(&in.mqttListen, "mqtt-listen", "", "`URL` to listen on with the embedded broker (default mqtt://127.0.0.1:1883)")
	f.StringVar(&in.mqttURL, "mqtt-url", "", "`URL` of an outside broker to use instead")
	f.StringVar(&in.dir, "dir", ".", "the `folder` to write to; it is made if it is missing")
	return cmd
}

func (a *app) init(in answers) error {
	switch {
	case in.mode != config.ModeAppservice && in.mode != config.ModeAccount:
		return usageError{fmt.Errorf("--mode is %q; it is appservice or account", in.mode)}
	case in.mqttListen != "" && in.mqttURL != "":
		return usageError{errors.New("--mqtt-listen and --mqtt-url exclude each other")}
	case in.mode == config.ModeAccount && in.passwordFile == "":
		return usageError{errors.New("--password-file is needed with --mode account")}
	case in.mode == config.ModeAppservice && in.passwordFile != "":
		return usageError{errors.New("--password-file belongs to --mode account")}
	}
	text := configText(in)
	target := filepath.Join(in.dir, "gatepost.yaml")
	var password []byte
	if in.mode == config.ModeAccount {
		var err error
		if password, err = a.readPassword(in.passwordFile); err != nil {
			return err
		}
	}
	cfg, err := tryConfig(target, text, password)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(in.dir, 0o700); err != nil {
		return fmt.Errorf("init: %w", err)
	}
	fresh := []newFile{{target, []byte(text)}, {filepath.Join(in.dir, "admin.token"), []byte(rand.Text() + "\n")}}
	if in.mode == config.ModeAccount {
		fresh = append(fresh, newFile{filepath.Join(in.dir, "account.secret"), password})
	} else {
		reg := config.NewRegistration(cfg.Matrix, reachable(cfg.Matrix.Listen), rand.Text()+rand.Text(), rand.Text()+rand.Text())
		fresh = append(fresh, newFile{filepath.Join(in.dir, "registration.yaml"), reg.YAML()})
	}
	if err := writeAllNew(fresh); err != nil {
		return err
	}
	for _, f := range fresh {
		if _, err := fmt.Fprintf(a.out, "Wrote %s.\n", f.path); err != nil {
			return err
		}
	}
	if in.mode == config.ModeAppservice {
		if err := homeserverLines(a.out, cfg.Matrix.Registration); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(a.out, `
Then say which topics are devices, under "devices:" in %[1]s, and

  gatepost check --config %[1]s
  gatepost run --config %[1]s
`, target)
	return err
}

func (a *app) readPassword(file string) ([]byte, error) {
	password, err := a.readPayload(file, 4096)
	if err != nil {
		return nil, err
	}
	password = []byte(strings.TrimRight(string(password), "\r\n"))
	if len(password) == 0 {
		return nil, usageError{errors.New("the password is empty")}
	}
	return append(password, '\n'), nil
}

// configText is a configuration that says what in says and explains itself.
func configText(in answers) string {
	var b strings.Builder
	line := func(format string, words ...any) { fmt.Fprintf(&b, format+"\n", words...) }
	line("# gatepost's configuration. `gatepost check` looks it over; SIGHUP reads it again.")
	line("matrix:")
	line("  homeserver: %s", quoted(in.homeserver))
	line("  server_name: %s", quoted(in.serverName))
	line("  mode: %s", in.mode)
	if in.mode == config.ModeAppservice {
		line("  registration: registration.yaml   # the homeserver reads the same file")
	}
	line("  user: %s", quoted(in.user))
	if in.mode == config.ModeAccount {
		line("  password_file: account.secret")
	}
	line("  owners: [%s]", strings.Join(quotedAll(in.owners), ", "))
	line("")
	line("mqtt:")
	switch {
	case in.mqttURL != "":
		line("  url: %s", quoted(in.mqttURL))
	case in.mqttListen != "":
		line("  listen: [%s]", quoted(in.mqttListen))
	default:
		line("  listen: [mqtt://127.0.0.1:1883]   # gatepost's own broker")
	}
	line("")
	line("# The first rule that matches a topic has the message.")
	line("devices:")
	line("  - topic: devices/{device}/{reading}")
	line("")
	line("store: {path: data, max_size: 256MiB}")
	line("admin: {listen: 127.0.0.1:8090, token_file: admin.token}")
	return b.String()
}

// quoted writes s in YAML's single quotes, in which only the quote itself is special; "$" would begin a variable.
func quoted(s string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(s, "'", "''"), "${", "$${") + "'"
}

func quotedAll(list []string) []string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = quoted(s)
	}
	return out
}

// tryConfig checks a configuration before it is written: in a folder of its own, with the secrets beside it.
func tryConfig(target, text string, password []byte) (cfg *config.Config, err error) {
	dir, err := os.MkdirTemp("", "gatepost-init")
	if err != nil {
		return nil, fmt.Errorf("init: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	beside := []newFile{
		{filepath.Join(dir, "gatepost.yaml"), []byte(text)},
		{filepath.Join(dir, "admin.token"), []byte("token\n")},
		{filepath.Join(dir, "account.secret"), password},
	}
	if err := writeAllNew(beside); err != nil {
		return nil, err
	}
	cfg, err = config.Load(beside[0].path, nil)
	if err != nil {
		return nil, usageError{errors.New(refusal(err))}
	}
	cfg.Matrix.Registration = filepath.Join(filepath.Dir(target), "registration.yaml")
	return cfg, nil
}

// refusal says what is wrong with the answers, without places in a file that nobody will see.
func refusal(err error) string {
	var mistakes config.Errors
	if !errors.As(err, &mistakes) {
		return err.Error()
	}
	lines := []string{"these answers make no good configuration:"}
	for _, m := range mistakes {
		lines = append(lines, "  "+m.Key+": "+m.Reason)
	}
	return strings.Join(lines, "\n")
}

// newFile is a file to be written.
type newFile struct {
	path string
	text []byte
}

// writeAllNew writes all files or, when one is there already, none.
func writeAllNew(all []newFile) error {
	for _, f := range all {
		if _, err := os.Lstat(f.path); !errors.Is(err, fs.ErrNotExist) {
			if err == nil {
				err = errors.New("is there already and is not replaced: move it away, or choose another --dir")
			}
			return fmt.Errorf("%s %w", f.path, err)
		}
	}
	for i, f := range all {
		if err := writeNew(f.path, f.text); err != nil {
			for _, done := range all[:i] {
				_ = os.Remove(done.path) // ours, of a moment ago
			}
			return err
		}
	}
	return nil
}
