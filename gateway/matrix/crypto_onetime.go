//go:build goolm

package matrix

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
	goolm "maunium.net/go/mautrix/crypto/goolm/account"
	"maunium.net/go/mautrix/crypto/signatures"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/internal/logkey"
)

const (
	countEvery    = 10 * time.Minute // a homeserver that does not count one-time keys is asked that often
	fallbackEvery = time.Hour        // so long at least the fallback key of before is good
)

// replenish sees to it that people find a key with the homeserver by which they can begin with us: one-time keys, each of which is
// given to one device, and a fallback key for when those are used up (Client-Server API, "One-time and fallback keys"). What fails is
// done after a later answer.
func (e *engine) replenish(ctx context.Context, mach *crypto.OlmMachine, res syncResponse) {
	now := e.c.cfg.Now()
	if n, ok := res.OneTimeKeys[string(id.KeyAlgorithmSignedCurve25519)]; ok {
		mach.HandleOTKCounts(ctx, &mautrix.OTKCount{SignedCurve25519: n})
	} else if now.Sub(e.counted) >= countEvery {
		e.counted = now
		if err := mach.ShareKeys(ctx, -1); err != nil {
			e.log.Info("one-time keys could not be counted", logkey.Error, machineOutcome("count one-time keys", err).Error())
		}
	}
	if res.Fallback == nil || slices.Contains(res.Fallback, string(id.KeyAlgorithmSignedCurve25519)) || now.Sub(e.fellBack) < fallbackEvery {
		return
	}
	if err := e.fallBack(ctx, mach); err != nil {
		e.log.Info("a fallback key could not be published", logkey.Error, err.Error())
		return
	}
	e.fellBack = now
}

// fallBack publishes a new fallback key, or the one that could not be published before.
func (e *engine) fallBack(ctx context.Context, mach *crypto.OlmMachine) error {
	own := mach.GetAccount()
	a, ok := own.Internal.(*goolm.Account)
	if !ok {
		return fmt.Errorf("matrix: an account of type %T has no fallback key", own.Internal)
	}
	if len(a.FallbackKeyUnpublished()) == 0 {
		if err := a.GenFallbackKey(); err != nil {
			return fmt.Errorf("matrix: fallback key: %w", err)
		}
		if err := e.store.PutAccount(ctx, own); err != nil {
			return fmt.Errorf("matrix: fallback key: %w", err)
		}
	}
	keys := map[id.KeyID]mautrix.OneTimeKey{}
	for name, key := range a.FallbackKeyUnpublished() {
		k := mautrix.OneTimeKey{Key: key, Fallback: true, IsSigned: true}
		signature, err := own.SignJSON(&k)
		if err != nil {
			return fmt.Errorf("matrix: fallback key: %w", err)
		}
		k.Signatures = signatures.NewSingleSignature(mach.Client.UserID, id.KeyAlgorithmEd25519, string(mach.Client.DeviceID), signature)
		keys[id.NewKeyID(id.KeyAlgorithmSignedCurve25519, name)] = k
	}
	body := map[string]any{"fallback_keys": keys}
	if _, err := mach.Client.MakeRequest(ctx, http.MethodPost, mach.Client.BuildClientURL("v3", "keys", "upload"), body, nil); err != nil {
		return machineOutcome("publish a fallback key", err)
	}
	a.CurrentFallbackKey.Published = true
	return e.store.PutAccount(ctx, own)
}
