package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/mqtt/broker"
)

// maxPasswd is the longest password that is read, in bytes; no MQTT client can send a longer one.
const maxPasswd = 65535

func (a *app) passwdCommand() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "passwd",
		Short: "Make the hash of a password for mqtt.accounts",
		Long: `Make the hash of a password, for password_hash or password_hash_file of an account
of the embedded broker. The password is asked for twice, without being shown, or is
the one line of standard input; it is never an argument, which others could see.

The hash is argon2id with 19 MiB and two passes. To check it takes some 50 ms on a
server and seconds on the smallest boards, once for each account after a start.`,
		Example: `  gatepost broker passwd
  gatepost broker passwd --file porch.hash
  openssl rand -base64 24 | tee porch.password | gatepost broker passwd`,
		Args: args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			return untilSignal(func(ctx context.Context) error { return a.passwd(ctx, file) })
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "write the hash to this `file` (mode 0600), in place of what it holds")
	return cmd
}

func (a *app) passwd(ctx context.Context, file string) error {
	password, err := a.newPassword(ctx)
	if err != nil {
		return err
	}
	hash, err := broker.HashPassword(password)
	if err != nil {
		return err
	}
	if file == "" {
		_, err = fmt.Fprintln(a.out, hash)
		return err
	}
	return replaceFile(file, []byte(hash+"\n"))
}

// newPassword asks for it where people type, and reads it where programs write.
func (a *app) newPassword(ctx context.Context) ([]byte, error) {
	if f, ok := a.in.(*os.File); ok {
		if restore, ok := hideTyping(f); ok {
			first, err := a.askPasswords(ctx, f)
			return first, errors.Join(err, restore())
		}
	}
	text, err := io.ReadAll(io.LimitReader(a.in, maxPasswd+3))
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	return onePassword(strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"))
}

// askPasswords reads it twice from a terminal. When ctx ends the reading goroutine is left behind: the process ends.
func (a *app) askPasswords(ctx context.Context, f *os.File) ([]byte, error) {
	type answer struct {
		text string
		err  error
	}
	lines := bufio.NewReader(io.LimitReader(f, 2*(maxPasswd+2)))
	var given [2]string
	for i, prompt := range []string{"Password: ", "The same again: "} {
		if _, err := fmt.Fprint(a.errOut, prompt); err != nil {
			return nil, err
		}
		got := make(chan answer, 1)
		go func() {
			text, err := lines.ReadString('\n')
			got <- answer{text, err}
		}()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case read := <-got:
			if read.err != nil {
				return nil, fmt.Errorf("read the password: %w", read.err)
			}
			given[i] = strings.TrimRight(read.text, "\r\n")
		}
	}
	if given[0] != given[1] {
		return nil, errors.New("the two are not the same")
	}
	return onePassword(given[0])
}

func onePassword(text string) ([]byte, error) {
	switch {
	case text == "":
		return nil, usageError{errors.New("the password is empty")}
	case len(text) > maxPasswd:
		return nil, usageError{fmt.Errorf("the password is longer than %d bytes", maxPasswd)}
	case strings.ContainsAny(text, "\r\n\x00"):
		return nil, usageError{errors.New("the password has more than one line, or is not text")}
	}
	return []byte(text), nil
}

// replaceFile puts text in place of a file as a whole, so that nobody reads half of it.
func replaceFile(file string, text []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = io.Copy(f, bytes.NewReader(text))
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
