//go:build !goolm

package matrix

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
)

// CanEncrypt says whether this build has end-to-end encryption (build tag goolm).
const CanEncrypt = false

var errCannot = errors.New("matrix: Crypto: this program was built without encryption (build tag goolm)")

// engine is never made in this build.
type engine struct{}

func newEngine(*Client, CryptoConfig) (*engine, error) { return nil, errCannot }

func (e *engine) prepare(context.Context, Abilities) error { return errCannot }

func (e *engine) took(context.Context, syncResponse) error { return errCannot }

func (e *engine) missed(context.Context) error { return errCannot }

func (e *engine) encrypt(context.Context, ids.RoomID, string, string, []byte, func() ([]byte, error)) (json.RawMessage, error) {
	return nil, errCannot
}

func (e *engine) decrypt(_ context.Context, in room.Event, _ bool) (room.Event, error) {
	return in, errCannot
}

func (e *engine) sent(ids.RoomID, string) {}

func (e *engine) recordOf(string) string { return "" }

func (e *engine) ciphertext(string) (string, error) { return "", errCannot }

func (e *engine) deviceToken() string { return "" }

func (e *engine) deviceName() string { return "" }

func (e *engine) verify(context.Context) {}

func (e *engine) stop() error { return nil }
