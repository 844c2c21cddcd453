package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/turn"
)

func (a *app) turnCommand() *cobra.Command {
	parent := &cobra.Command{
		Use:   "turn",
		Short: "The relay for calls: credentials, the homeserver's lines, allocations",
		Example: `  gatepost turn config --for synapse --host turn.example.org
  gatepost turn credentials --user @alice:example.org
  gatepost turn allocations
  gatepost turn kick --user @alice:example.org`,
		Args: noSubcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	parent.AddCommand(a.turnConfigCommand(), a.turnCredentialsCommand(), a.turnAllocationsCommand(), a.turnKickCommand())
	return parent
}

// errNoTurn is wrong use: the configuration lacks what a subcommand is about.
var (
	errNoTurn   = errors.New("the configuration has no turn section")
	errNoSecret = errors.New("turn.secret_file is needed: only with a secret can credentials be made")
)

// turnSection is the section turn, which must have a secret.
func (a *app) turnSection() (*config.Turn, error) {
	cfg, err := a.load()
	switch {
	case err != nil:
		return nil, err
	case cfg.Turn == nil:
		return nil, errNoTurn
	case cfg.Turn.Secret.Reveal() == "":
		return nil, errNoSecret
	}
	return cfg.Turn, nil
}

func (a *app) turnCredentialsCommand() *cobra.Command {
	var user, host string
	var ttl time.Duration
	cmd := a.jsonFlag(&cobra.Command{
		Use:   "credentials --user USER",
		Short: "Make a credential for the relay, as a homeserver does",
		Long: `Make a credential for the relay, as a homeserver does. Nobody is asked and nothing
is stored: the password follows from the secret and the user name, which has the
time of its expiry in it. It is good for beginning a call until then; a call that
goes on longer is not cut.`,
		Example: `  gatepost turn credentials --user @alice:example.org
  gatepost turn credentials --user test --ttl 10m --json`,
		Args: args(cobra.NoArgs),
	})
	cmd.RunE = func(*cobra.Command, []string) error {
		if err := need(cmd, "user"); err != nil {
			return err
		}
		if ttl < time.Second || ttl > 365*24*time.Hour {
			return usageError{fmt.Errorf("--ttl %s is not between 1s and a year", ttl)}
		}
		t, err := a.turnSection()
		if err != nil {
			return err
		}
		return a.printCredential(mintCredential(t, host, user, ttl, time.Now()))
	}
	cmd.Flags().StringVar(&user, "user", "", "whom it is for, such as @alice:example.org; limits count for each `user`")
	cmd.Flags().DurationVar(&ttl, "ttl", 24*time.Hour, "how long it is good")
	hostFlag(cmd, &host)
	return cmd
}

func hostFlag(cmd *cobra.Command, host *string) {
	cmd.Flags().StringVar(host, "host", "", "the relay's `name` or address for clients (default turn.public_ip, for TLS turn.realm)")
}

// turnCredential is a credential with the field names of Matrix's /voip/turnServer.
type turnCredential struct {
	Username string   `json:"username"`
	Password string   `json:"password"`
	URIs     []string `json:"uris"`
	TTL      int64    `json:"ttl"` // s
}

// mintCredential makes a credential of a section with a secret.
func mintCredential(t *config.Turn, host, user string, ttl time.Duration, now time.Time) turnCredential {
	c := turnCredential{URIs: turnURIs(t, host), TTL: int64(ttl / time.Second)}
	c.Username, c.Password = turn.Mint(t.Secret.Reveal(), user, now.Add(ttl))
	return c
}

func (a *app) printCredential(c turnCredential) error {
	if a.json {
		return printJSON(a.out, c)
	}
	_, err := fmt.Fprintf(a.out, "username  %s\npassword  %s\n", clean(c.Username, 0), c.Password)
	for _, uri := range c.URIs {
		if err == nil {
			_, err = fmt.Fprintln(a.out, "uri       "+uri)
		}
	}
	return err
}

// turnURIs are the relay's addresses as clients are told them (RFC 7065), UDP first: one for each listener and transport.
// Without a host it is the first public address of the family, or the realm; for TLS, whose certificate has a name, always
// the realm.
func turnURIs(t *config.Turn, host string) []string {
	var out []string
	seen := map[string]bool{}
	for _, scheme := range []string{"udp", "tcp", "tls"} {
		for _, l := range t.Listen {
			if !strings.HasPrefix(l, scheme+"://") {
				continue
			}
			_, port, err := net.SplitHostPort(l[len(scheme)+len("://"):])
			if err != nil {
				continue // a checked configuration has none
			}
			name := host
			if name == "" {
				name = t.Realm
				if len(t.PublicIP) > 0 && scheme != "tls" {
					name = t.PublicIP[0].String()
				}
			}
			if a, err := netip.ParseAddr(name); err == nil && a.Is6() {
				name = "[" + name + "]"
			}
			uri := map[string]string{"udp": "turn:%s:%s?transport=udp", "tcp": "turn:%s:%s?transport=tcp", "tls": "turns:%s:%s?transport=tcp"}[scheme]
			if uri = fmt.Sprintf(uri, name, port); !seen[uri] {
				seen[uri] = true
				out = append(out, uri)
			}
		}
	}
	return out
}

func (a *app) turnConfigCommand() *cobra.Command {
	var server, host string
	cmd := &cobra.Command{
		Use:   "config --for synapse|dendrite|conduit",
		Short: "Print the lines for the homeserver's configuration",
		Long: `Print the lines for the homeserver's configuration. They contain the secret.
Conduit stands for the servers that come from it too.`,
		Example: `  gatepost turn config --for synapse --host turn.example.org`,
		Args:    args(cobra.NoArgs),
	}
	cmd.RunE = func(*cobra.Command, []string) error {
		if err := need(cmd, "for"); err != nil {
			return err
		}
		lines, ok := turnLines[server]
		if !ok {
			return usageError{fmt.Errorf("--for is %q; it is synapse, dendrite or conduit", server)}
		}
		t, err := a.turnSection()
		if err != nil {
			return err
		}
		_, err = fmt.Fprint(a.out, lines(turnURIs(t, host), t.Secret.Reveal()))
		return err
	}
	cmd.Flags().StringVar(&server, "for", "", "the `homeserver`: synapse, dendrite or conduit")
	hostFlag(cmd, &host)
	return cmd
}

// turnLines are what a homeserver must be told, by its name. YAML and TOML both take strings as JSON has them.
var turnLines = map[string]func(uris []string, secret string) string{
	"synapse": func(uris []string, secret string) string {
		return "turn_uris: " + jsonText(uris) + "\nturn_shared_secret: " + jsonText(secret) +
			"\nturn_user_lifetime: 24h\nturn_allow_guests: false\n"
	},
	"dendrite": func(uris []string, secret string) string {
		return "client_api:\n  turn:\n    turn_uris: " + jsonText(uris) + "\n    turn_shared_secret: " + jsonText(secret) +
			"\n    turn_user_lifetime: \"24h\"\n"
	},
	"conduit": func(uris []string, secret string) string {
		return "[global.turn]\nuris = " + jsonText(uris) + "\nsecret = " + jsonText(secret) + "\n"
	},
}

func jsonText(v any) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err.Error() // strings can always be written
	}
	return strings.ReplaceAll(strings.TrimSpace(b.String()), `","`, `", "`)
}

func (a *app) turnAllocationsCommand() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "allocations",
		Short: "List who uses the relay now",
		Args:  args(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			var all []turnAllocationInfo
			if err := a.ask(verbTurnAllocations, nil, &all); err != nil {
				return err
			}
			now := time.Now()
			head := []string{"ID", "USER", "CLIENT", "OVER", "RELAYED", "SINCE", "PEERS", "TO PEER", "TO CLIENT"}
			return list(a, all, "No allocation.", head, func(i turnAllocationInfo) []string {
				return []string{
					i.ID, i.User, i.Client, i.Transport, strings.Join(i.Relayed, " "), age(now, i.Since), strconv.Itoa(i.Permissions),
					size(int64(i.ToPeer.Bytes)), size(int64(i.ToClient.Bytes)),
				}
			})
		},
	})
}

func (a *app) turnKickCommand() *cobra.Command {
	var user string
	cmd := &cobra.Command{
		Use:   "kick ID... | --user USER",
		Short: "End allocations",
		Long: `End allocations: of the ids that "gatepost turn allocations" lists, or all of a user.
The clients learn of it when they next ask for something, and may come again; to lock
somebody out, have the homeserver give no more credentials.`,
		Example: `  gatepost turn kick 17
  gatepost turn kick --user @alice:example.org`,
	}
	cmd.RunE = func(_ *cobra.Command, words []string) error {
		byUser := cmd.Flags().Changed("user")
		if byUser == (len(words) > 0) {
			return usageError{errors.New("say which: ids, or --user")}
		}
		r := turnKickRequest{IDs: words}
		if byUser {
			r.User = &user
		}
		var reply countedReply
		if err := a.ask(verbTurnKick, r, &reply); err != nil {
			return err
		}
		_, err := fmt.Fprintf(a.out, "%d ended.\n", reply.Count)
		return err
	}
	cmd.Flags().StringVar(&user, "user", "", "all allocations of this `user`")
	return cmd
}
