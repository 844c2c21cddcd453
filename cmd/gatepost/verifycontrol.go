package main

import (
	"context"
	"time"

	"github.com/gatepost/gatepost/internal/admin"
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
)

const (
	verbIdentity           = "identity"
	verbAnswerVerification = "answer-verification"
	verbSetupIdentity      = "setup-identity"
	verbRecoveryShown      = "recovery-shown"
	verbRecoverIdentity    = "recover-identity"
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
}
