//go:build goolm

package matrix

import (
	"errors"
	"slices"
	"testing"

	"maunium.net/go/mautrix/crypto"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
)

// standing makes a device of somebody stand in some way with the bot.
type standing func(t *testing.T, mach *crypto.OlmMachine, s *cryptoStore, d *id.Device)

// signedWith lets the person sign the device with the keys under a master key.
func signedWith(master id.Ed25519) standing {
	return func(t *testing.T, _ *crypto.OlmMachine, s *cryptoStore, d *id.Device) {
		ctx, self := t.Context(), master+"-self"
		if err := errors.Join(
			s.PutCrossSigningKey(ctx, d.UserID, id.XSUsageMaster, master),
			s.PutCrossSigningKey(ctx, d.UserID, id.XSUsageSelfSigning, self),
			s.PutSignature(ctx, d.UserID, self, d.UserID, master, "signature"),
			s.PutSignature(ctx, d.UserID, d.SigningKey, d.UserID, self, "signature"),
		); err != nil {
			t.Fatal(err)
		}
	}
}

// vouched lets the bot sign somebody's master key.
func vouched(master id.Ed25519) standing {
	return func(t *testing.T, mach *crypto.OlmMachine, s *cryptoStore, d *id.Device) {
		keys, err := mach.GenerateCrossSigningKeys()
		if err == nil {
			err = mach.ImportCrossSigningKeys(keys.Seeds())
		}
		if err == nil {
			err = s.PutSignature(t.Context(), d.UserID, master, id.UserID(testBot), keys.UserSigningKey.PublicKey(), "signature")
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func marked(trust id.TrustState) standing {
	return func(t *testing.T, _ *crypto.OlmMachine, s *cryptoStore, d *id.Device) {
		d.Trust = trust
		if err := s.PutDevice(t.Context(), d.UserID, d); err != nil {
			t.Fatal(err)
		}
	}
}

// Each kind of trust with each kind of device: who gets keys, and how much is known of who speaks.
func TestTrustAndDevices(t *testing.T) {
	all, signed, verified := []Trust{TrustAll}, []Trust{TrustAll, TrustCrossSigned}, []Trust{TrustAll, TrustCrossSigned, TrustVerified}
	for _, tt := range []struct {
		device string
		stands []standing
		keys   []Trust // under which it gets keys
		speaks room.Trust
	}{
		{"that nobody signed", nil, all, room.Known},
		{"that its owner signed", []standing{signedWith("first")}, signed, room.CrossSigned},
		{"of somebody verified", []standing{signedWith("first"), vouched("first")}, verified, room.Verified},
		{"that was verified alone", []standing{marked(id.TrustStateVerified)}, verified, room.Verified},
		{"of somebody who has another identity than at first", []standing{signedWith("first"), signedWith("second")}, all, room.Known},
		{"of somebody verified, who has another identity by now", []standing{signedWith("first"), vouched("first"), signedWith("second")}, all, room.Known},
		{"verified alone, of somebody who has another identity by now", []standing{marked(id.TrustStateVerified), signedWith("first"), signedWith("second")}, verified, room.Verified},
		{"that is blacklisted", []standing{marked(id.TrustStateBlacklisted)}, nil, room.Untrusted},
		{"that is blacklisted, of somebody verified", []standing{signedWith("first"), vouched("first"), marked(id.TrustStateBlacklisted)}, nil, room.Untrusted},
	} {
		for _, policy := range verified {
			t.Run(string(policy)+"/"+tt.device, func(t *testing.T) {
				k := newCryptoServer(t)
				alice := k.person(t, "@alice:example.org", "PHONE")
				c := k.bot(t, newMemTable(), secrets{}, func(cfg *Config) { cfg.Crypto.Trust = policy })
				e := alice.says(t, "$1", "m.room.message", `{"msgtype":"m.text","body":"!unlock"}`, id.UserID(testBot))
				k.hear(t, c)
				mach := c.engine.mach.Load()
				if _, err := c.engine.fetch(t.Context(), mach, []id.UserID{"@alice:example.org"}); err != nil {
					t.Fatal(err)
				}
				d, err := c.engine.store.GetDevice(t.Context(), "@alice:example.org", "PHONE")
				if err != nil || d == nil {
					t.Fatal(d, err)
				}
				for _, stand := range tt.stands {
					stand(t, mach, c.engine.store, d)
				}
				if got, err := c.Decrypt(t.Context(), e); err != nil || got.Trust != tt.speaks {
					t.Errorf("speaks as %v, want %v: %v", got.Trust, tt.speaks, err)
				}
				if o := c.Send(t.Context(), testRoom, "", saying("r1", "for those who may")); o.Verdict != lane.Done {
					t.Fatal(o)
				}
				if _, err := alice.read(t, k.events()[0]); (err == nil) != slices.Contains(tt.keys, policy) {
					t.Errorf("reads: %v", err)
				}
			})
		}
	}
}
