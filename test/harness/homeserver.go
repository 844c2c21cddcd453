package harness

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"time"
)

// Homeserver is a real homeserver on a free port of 127.0.0.1, without federation and without limits for its users. What
// it knows stays in its folder from one start to the next.
type Homeserver interface {
	// Kind is "dendrite" or "synapse".
	Kind() string
	// URL where its Client-Server API answers; the same over all starts.
	URL() string
	// ServerName is the part of its user ids after the colon.
	ServerName() string
	// Start runs it and returns when it answers.
	Start(ctx context.Context) error
	// Stop ends it in peace.
	Stop() error
	// Kill ends it at once.
	Kill()
	// Register makes an ordinary user.
	Register(ctx context.Context, localpart, password string) error
	// Log is what it wrote.
	Log() *Log
}

// awaitAnswer polls the homeserver until it answers /versions or p has ended.
func awaitAnswer(ctx context.Context, p *Process, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	c := client{base: url}
	for {
		if err := c.do(ctx, http.MethodGet, "/_matrix/client/versions", nil, nil); err == nil {
			return nil
		}
		if !p.Running() {
			return p.explain(fmt.Errorf("ended instead of answering at %s", url))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return p.explain(fmt.Errorf("wait for %s: %w", url, ctx.Err()))
		}
	}
}

// registerShared makes a user with the registration shared secret, by the API that Synapse and Dendrite share.
func registerShared(ctx context.Context, url, secret, localpart, password string) error {
	c := client{base: url}
	var nonce struct{ Nonce string }
	if err := c.do(ctx, http.MethodGet, "/_synapse/admin/v1/register", nil, &nonce); err != nil {
		return fmt.Errorf("register %s: %w", localpart, err)
	}
	mac := hmac.New(sha1.New, []byte(secret))
	fmt.Fprintf(mac, "%s\x00%s\x00%s\x00notadmin", nonce.Nonce, localpart, password)
	body := map[string]any{
		"nonce": nonce.Nonce, "username": localpart, "password": password, "admin": false,
		"mac": hex.EncodeToString(mac.Sum(nil)),
	}
	if err := c.do(ctx, http.MethodPost, "/_synapse/admin/v1/register", body, nil); err != nil {
		return fmt.Errorf("register %s: %w", localpart, err)
	}
	return nil
}

// Secret is a random word for tokens and passwords.
func Secret() string { return rand.Text() }
