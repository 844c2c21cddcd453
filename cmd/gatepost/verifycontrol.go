package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gatepost/gatepost/gateway/matrix"
	"github.com/gatepost/gatepost/internal/admin"
	"github.com/gatepost/gatepost/internal/ids"
)

// verifyControl is what a gateway with encryption does for the command line; see control.
type verifyControl interface {
	// Identity says how the bot's device stands, and which verifications people have asked for, the oldest first.
	Identity(ctx context.Context) (identityInfo, error)
	// AnswerVerification says whether the emoji agree.
	AnswerVerification(ctx context.Context, r answerRequest) error
	// SetupIdentity gives a recovery key. It is given again until RecoveryShown.
	SetupIdentity(ctx context.Context) (recoveryReply, error)
	RecoveryShown(ctx context.Context) error
	RecoverIdentity(ctx context.Context, r recoverRequest) error
	// AcceptIdentity takes the keys that a person has now for theirs.
	AcceptIdentity(ctx context.Context, r acceptRequest) error
}

// identityInfo is the bot's device.
type identityInfo struct {
	User          string             `json:"user"`
	Device        string             `json:"device"`
	Fingerprint   string             `json:"fingerprint"` // its ed25519 key
	Signed        bool               `json:"signed"`
	Problem       string             `json:"problem,omitempty"` // why it is not signed
	Verifications []verificationInfo `json:"verifications"`
}

// verificationInfo is a verification that a person asked for.
type verificationInfo struct {
	ID       string      `json:"id"`
	User     string      `json:"user"`
	Device   string      `json:"device"`
	State    string      `json:"state"`           // asked, comparing, shown, confirmed, done or cancelled
	Emoji    []emojiInfo `json:"emoji,omitempty"` // to be compared while shown
	Decimals []int       `json:"decimals,omitempty"`
	Code     string      `json:"code,omitempty"` // why it was cancelled
	Expires  time.Time   `json:"expires,omitzero"`
}

type emojiInfo struct {
	Symbol string `json:"symbol"`
	Name   string `json:"name"`
}

// The requests and answers.
type (
	answerRequest struct {
		ID    string `json:"id"`
		Agree bool   `json:"agree"`
	}
	recoveryReply struct {
		RecoveryKey string `json:"recovery_key"`
	}
	recoverRequest struct {
		RecoveryKey string `json:"recovery_key"`
	}
	acceptRequest struct {
		User string `json:"user"`
	}
)

const (
	verbIdentity           = "identity"
	verbAnswerVerification = "answer-verification"
	verbSetupIdentity      = "setup-identity"
	verbRecoveryShown      = "recovery-shown"
	verbRecoverIdentity    = "recover-identity"
	verbAcceptIdentity     = "accept-identity"
)

// serveVerifyControl registers every verb of c on s. It is called before s runs.
func serveVerifyControl(s *admin.Server, c verifyControl) {
	handle(s, verbIdentity, func(ctx context.Context, _ nothing) (identityInfo, error) { return c.Identity(ctx) })
	handle(s, verbAnswerVerification, func(ctx context.Context, r answerRequest) (nothing, error) {
		return nothing{}, c.AnswerVerification(ctx, r)
	})
	handle(s, verbSetupIdentity, func(ctx context.Context, _ nothing) (recoveryReply, error) { return c.SetupIdentity(ctx) })
	handle(s, verbRecoveryShown, func(ctx context.Context, _ nothing) (nothing, error) { return nothing{}, c.RecoveryShown(ctx) })
	handle(s, verbRecoverIdentity, func(ctx context.Context, r recoverRequest) (nothing, error) {
		return nothing{}, c.RecoverIdentity(ctx, r)
	})
	handle(s, verbAcceptIdentity, func(ctx context.Context, r acceptRequest) (nothing, error) {
		return nothing{}, c.AcceptIdentity(ctx, r)
	})
}

// verifyController answers with the running bot.
type verifyController struct{ d *daemon }

// verified turns a refusal into one that the command line understands.
func verified(err error) error {
	switch {
	case errors.Is(err, matrix.ErrNoEncryption):
		return &admin.Error{Code: admin.Refused, Text: "this gatepost does not encrypt: matrix.encryption is off, or it was built without encryption"}
	case errors.Is(err, matrix.ErrNoVerification):
		return &admin.Error{Code: admin.NotFound, Text: "there is no such verification, or it is over"}
	case errors.Is(err, matrix.ErrNoIdentity):
		return &admin.Error{Code: admin.NotFound, Text: "the homeserver knows no keys of such a user"}
	case errors.Is(err, matrix.ErrNotShown), errors.Is(err, matrix.ErrUnsigned), errors.Is(err, matrix.ErrRecoveryKey):
		return &admin.Error{Code: admin.Refused, Text: err.Error()}
	}
	return err
}

func (c verifyController) client() (*matrix.Client, error) {
	if c.d.matrix == nil {
		return nil, verified(matrix.ErrNoEncryption)
	}
	return c.d.matrix, nil
}

func (c verifyController) Identity(ctx context.Context) (identityInfo, error) {
	m, err := c.client()
	if err != nil {
		return identityInfo{}, err
	}
	i, err := m.Identity(ctx)
	if err != nil {
		return identityInfo{}, verified(err)
	}
	out := identityInfo{User: string(i.User), Device: i.Device, Fingerprint: i.Key, Signed: i.Signed, Problem: i.Problem, Verifications: []verificationInfo{}}
	for _, v := range i.Verifications {
		out.Verifications = append(out.Verifications, aboutVerification(v))
	}
	return out, nil
}

func aboutVerification(v matrix.Verification) verificationInfo {
	out := verificationInfo{ID: v.ID, User: string(v.User), Device: v.Device, State: v.State, Code: v.Code, Expires: v.Expires}
	for _, e := range v.Emoji {
		out.Emoji = append(out.Emoji, emojiInfo{e.Symbol, e.Name})
	}
	if len(v.Emoji) > 0 {
		out.Decimals = v.Decimals[:]
	}
	return out
}

func (c verifyController) AnswerVerification(ctx context.Context, r answerRequest) error {
	m, err := c.client()
	if err != nil {
		return err
	}
	return verified(m.AnswerVerification(ctx, r.ID, r.Agree))
}

func (c verifyController) SetupIdentity(ctx context.Context) (recoveryReply, error) {
	m, err := c.client()
	if err != nil {
		return recoveryReply{}, err
	}
	key, err := m.SetupIdentity(ctx)
	return recoveryReply{key}, verified(err)
}

func (c verifyController) RecoveryShown(ctx context.Context) error {
	m, err := c.client()
	if err != nil {
		return err
	}
	return verified(m.RecoveryShown(ctx))
}

func (c verifyController) RecoverIdentity(ctx context.Context, r recoverRequest) error {
	m, err := c.client()
	if err != nil {
		return err
	}
	return verified(m.RecoverIdentity(ctx, r.RecoveryKey))
}

func (c verifyController) AcceptIdentity(ctx context.Context, r acceptRequest) error {
	m, err := c.client()
	if err != nil {
		return err
	}
	return verified(m.AcceptIdentity(ctx, ids.UserID(r.User)))
}

// verification tells the owners how a verification goes on. It does not block.
func (d *daemon) verification(v matrix.Verification) {
	var text string
	switch v.State {
	case "shown":
		var words []string
		for _, e := range v.Emoji {
			words = append(words, e.Symbol+" "+e.Name)
		}
		text = fmt.Sprintf("%s asks to verify me, from device %s. These should be the same there: %s. Compare them with `gatepost verify` on my machine, and answer there.", v.User, v.Device, strings.Join(words, ", "))
	case "done":
		text = fmt.Sprintf("%s has verified me, and I have verified %s.", v.User, v.User)
	default:
		return
	}
	d.gateway.Alert(text, "verification "+v.ID+" "+v.State)
}
