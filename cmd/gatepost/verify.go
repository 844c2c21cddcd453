package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/internal/admin"
)

func (a *app) verifyCommand() *cobra.Command {
	var v verify
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "verify [--setup | --recovery-key-file FILE | --match ID | --differ ID | --accept USER]",
		Short: "Make sure that people's clients and the gateway's speak with each other",
		Long: `Show the gateway's own device and who asks to verify it, and wait for an owner who
does: choose the bot in your client and ask it for a verification. Seven emoji
appear here and in the client; say whether they are the same. Look at them here,
not in a Matrix room, which is what is being verified.

--setup shows the recovery key, once: keep it off this machine. With it, and
--recovery-key-file, a gateway that has lost its keys is the same one again to
everybody who has verified it. When the key was shown before, a new one takes its
place.

--accept is for somebody who has reset their identity, and reads nothing since:
ask the person whether it was they.`,
		Example: `  gatepost verify
  gatepost verify --setup
  gatepost verify --recovery-key-file recovery.txt
  gatepost verify --accept @bob:example.org
  gatepost verify --json`,
		Args: args(cobra.NoArgs),
	})
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		given := 0
		for _, flag := range []string{"setup", "recovery-key-file", "match", "differ", "accept"} {
			if cmd.Flags().Changed(flag) {
				given++
			}
		}
		if given > 1 {
			return usageError{errors.New("only one of --setup, --recovery-key-file, --match, --differ and --accept")}
		}
		client, err := a.client()
		if err != nil {
			return err
		}
		v.app, v.client = a, client
		return untilSignal(func(ctx context.Context) error { return a.explain(v.run(ctx)) })
	}
	cmd.Flags().BoolVar(&v.setup, "setup", false, "show the recovery key")
	cmd.Flags().StringVar(&v.recovery, "recovery-key-file", "", "sign the gateway's device with the recovery key in `file`; - is standard input")
	cmd.Flags().StringVar(&v.match, "match", "", "the emoji of verification `id` are the same")
	cmd.Flags().StringVar(&v.differ, "differ", "", "the emoji of verification `id` are not the same")
	cmd.Flags().StringVar(&v.accept, "accept", "", "take the keys that `user` has now for theirs, after they reset their identity")
	cmd.Flags().DurationVar(&v.wait, "wait", 10*time.Minute, "how long to wait for somebody who asks; 0 only shows what there is")
	return cmd
}

// verify is one use of the subcommand.
type verify struct {
	app    *app
	client *admin.Client

	setup         bool
	recovery      string
	match, differ string
	accept        string
	wait          time.Duration
}

// How often the gateway is asked for news.
const verifyPoll = 300 * time.Millisecond

func (v *verify) run(ctx context.Context) error {
	switch {
	case v.setup:
		return v.showRecovery(ctx)
	case v.recovery != "":
		return v.recover(ctx)
	case v.accept != "":
		return v.client.Call(ctx, verbAcceptIdentity, acceptRequest{User: v.accept}, nil)
	case v.match != "" || v.differ != "":
		return v.client.Call(ctx, verbAnswerVerification, answerRequest{ID: v.match + v.differ, Agree: v.match != ""}, nil)
	}
	var id identityInfo
	if err := v.client.Call(ctx, verbIdentity, nil, &id); err != nil {
		return err
	}
	if v.app.json {
		if id.Verifications == nil {
			id.Verifications = []verificationInfo{}
		}
		return printJSON(v.app.out, id)
	}
	if err := v.describe(id); err != nil || v.wait <= 0 {
		return err
	}
	return v.attend(ctx)
}

func (v *verify) describe(id identityInfo) error {
	signed := "yes"
	if !id.Signed {
		signed = "no"
		if id.Problem != "" {
			signed += ": " + clean(id.Problem, 0)
		}
	}
	_, err := fmt.Fprintf(v.app.out, "user         %s\ndevice       %s\nfingerprint  %s\nsigned       %s\n",
		clean(id.User, 0), clean(id.Device, 0), clean(grouped(id.Fingerprint), 0), signed)
	if err == nil && !id.Signed {
		_, err = fmt.Fprintln(v.app.out, "\nClients warn of it until it is: use --recovery-key-file with the recovery key, or --setup for new keys.")
	}
	for _, f := range id.Verifications {
		if err == nil {
			_, err = fmt.Fprintf(v.app.out, "\n%s  %s from device %s: %s %s\n", clean(f.ID, 0), clean(f.User, 0), clean(f.Device, 0), f.State, emojiLine(f))
		}
	}
	return err
}

// attend waits for verifications and asks whether the emoji agree, until one has ended.
func (v *verify) attend(ctx context.Context) error {
	if _, err := fmt.Fprintln(v.app.out, "\nWaiting for an owner who asks the bot for a verification in a client. Ctrl-C ends it."); err != nil {
		return err
	}
	lines := bufio.NewReader(io.LimitReader(v.app.in, 1<<10))
	asked := map[string]bool{}
	over := time.NewTimer(v.wait)
	defer over.Stop()
	tick := time.NewTicker(verifyPoll)
	defer tick.Stop()
	for {
		var id identityInfo
		if err := v.client.Call(ctx, verbIdentity, nil, &id); err != nil {
			return err
		}
		for _, f := range id.Verifications {
			switch {
			case f.State == "shown" && !asked[f.ID]:
				asked[f.ID] = true
				if err := v.compare(ctx, lines, f); err != nil {
					return err
				}
			case f.State == "done" && asked[f.ID]:
				_, err := fmt.Fprintf(v.app.out, "Verified: %s with device %s.\n", clean(f.User, 0), clean(f.Device, 0))
				return err
			case f.State == "cancelled" && asked[f.ID]:
				return fmt.Errorf("the verification with %s was cancelled: %s", clean(f.User, 0), clean(f.Code, 0))
			}
		}
		select {
		case <-tick.C:
		case <-over.C:
			return errors.New("nobody has asked")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// compare shows the emoji and takes the answer. When ctx ends the reading goroutine is left behind: the process ends.
func (v *verify) compare(ctx context.Context, lines *bufio.Reader, f verificationInfo) error {
	if _, err := fmt.Fprintf(v.app.out, "\n%s asks, from device %s. The client shows:\n\n  %s\n\nThe same? [yes/no] ",
		clean(f.User, 0), clean(f.Device, 0), emojiLine(f)); err != nil {
		return err
	}
	type line struct {
		text string
		err  error
	}
	got := make(chan line, 1)
	go func() {
		text, err := lines.ReadString('\n')
		got <- line{text, err}
	}()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case read := <-got:
		if read.err != nil && read.text == "" {
			return fmt.Errorf("read the answer: %w", read.err)
		}
		agree := strings.EqualFold(strings.TrimSpace(read.text), "yes")
		return v.client.Call(ctx, verbAnswerVerification, answerRequest{ID: f.ID, Agree: agree}, nil)
	}
}

func (v *verify) showRecovery(ctx context.Context) error {
	var r recoveryReply
	if err := v.client.Call(ctx, verbSetupIdentity, nil, &r); err != nil {
		return err
	}
	if v.app.json {
		if err := printJSON(v.app.out, r); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(v.app.out, "Recovery key:\n\n  %s\n\nIt is not shown again. Write it down, and keep it away from this machine.\n", clean(r.RecoveryKey, 0)); err != nil {
		return err
	}
	return v.client.Call(ctx, verbRecoveryShown, nil, nil)
}

// maxRecovery is more than the length of a recovery key with its spaces.
const maxRecovery = 200

func (v *verify) recover(ctx context.Context) error {
	in := v.app.in
	if v.recovery != "-" {
		f, err := os.Open(v.recovery)
		if err != nil {
			return fmt.Errorf("read the recovery key: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxRecovery))
	if err != nil {
		return fmt.Errorf("read the recovery key: %w", err)
	}
	if err := v.client.Call(ctx, verbRecoverIdentity, recoverRequest{RecoveryKey: strings.TrimSpace(string(text))}, nil); err != nil {
		return err
	}
	_, err = fmt.Fprintln(v.app.out, "The gateway's device is signed.")
	return err
}

// emojiLine is what is compared.
func emojiLine(f verificationInfo) string {
	var words []string
	for _, e := range f.Emoji {
		words = append(words, e.Symbol+" "+e.Name)
	}
	return strings.Join(words, "   ")
}

// grouped writes a key in groups of four, as clients show it.
func grouped(key string) string {
	var b strings.Builder
	for i, r := range key {
		if i > 0 && i%4 == 0 {
			b.WriteByte(' ')
		}
		b.WriteRune(r)
	}
	return b.String()
}
