//go:build goolm

package matrix

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto"
)

// keyServer is the part of a homeserver that keeps keys.
type keyServer struct {
	*httptest.Server
	fail map[string]int // paths' ends that are refused so often

	mu      sync.Mutex
	device  map[string]any
	keys    map[string]any // master_key, self_signing_key, user_signing_key
	data    map[string]json.RawMessage
	signed  []string // ids that signatures were uploaded for
	guarded bool     // keys that are there are replaced with a password only
}

func newKeyServer(t *testing.T) *keyServer {
	s := &keyServer{fail: map[string]int{}, data: map[string]json.RawMessage{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *keyServer) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	raw, _ := io.ReadAll(r.Body)
	var body map[string]any
	_ = json.Unmarshal(raw, &body)
	answer := func(v any) { _ = json.NewEncoder(w).Encode(v) }
	w.Header().Set("Content-Type", "application/json")
	for end, n := range s.fail {
		if strings.Contains(r.URL.Path, end) && n > 0 {
			s.fail[end]--
			w.WriteHeader(http.StatusBadRequest)
			answer(map[string]string{"errcode": "M_UNKNOWN"})
			return
		}
	}
	_, account, ok := strings.Cut(r.URL.Path, "/account_data/")
	switch {
	case strings.HasSuffix(r.URL.Path, "/keys/upload"):
		if d, ok := body["device_keys"].(map[string]any); ok {
			s.device = d
		}
		answer(map[string]any{"one_time_key_counts": map[string]int{"signed_curve25519": 50}})
	case strings.HasSuffix(r.URL.Path, "/keys/query"):
		out := map[string]any{"device_keys": map[string]any{"@bot:x": map[string]any{"BOT": s.device}}}
		for name, plural := range map[string]string{"master_key": "master_keys", "self_signing_key": "self_signing_keys", "user_signing_key": "user_signing_keys"} {
			if s.keys[name] != nil {
				out[plural] = map[string]any{"@bot:x": s.keys[name]}
			}
		}
		answer(out)
	case strings.HasSuffix(r.URL.Path, "/device_signing/upload"):
		if s.guarded && s.keys != nil && body["auth"] == nil {
			w.WriteHeader(http.StatusUnauthorized)
			answer(map[string]any{"session": "s", "flows": []any{map[string]any{"stages": []string{"m.login.password"}}}})
			return
		}
		s.keys = body
		answer(struct{}{})
	case strings.HasSuffix(r.URL.Path, "/signatures/upload"):
		for _, list := range body {
			for name, object := range list.(map[string]any) {
				s.signed = append(s.signed, name)
				if name == "BOT" {
					for user, signatures := range object.(map[string]any)["signatures"].(map[string]any) {
						have := s.device["signatures"].(map[string]any)[user].(map[string]any)
						for key, value := range signatures.(map[string]any) {
							have[key] = value
						}
					}
				}
			}
		}
		answer(struct{}{})
	case ok && r.Method == http.MethodPut:
		s.data[account] = raw
		answer(struct{}{})
	case ok && s.data[account] != nil:
		_, _ = w.Write(s.data[account])
	default:
		w.WriteHeader(http.StatusNotFound)
		answer(map[string]string{"errcode": "M_NOT_FOUND"})
	}
}

// memorySeeds is a file in memory; fails says how many more times it can be written.
type memorySeeds struct{ data []byte }

func (m *memorySeeds) Load() ([]byte, error) { return m.data, nil }
func (m *memorySeeds) Save(b []byte) error   { m.data = slices.Clone(b); return nil }

// bot is an identity with a new device on s.
func (s *keyServer) bot(t *testing.T, file Seeds) *identity {
	t.Helper()
	cli, err := mautrix.NewClient(s.URL, "@bot:x", "token")
	if err != nil {
		t.Fatal(err)
	}
	cli.DeviceID, cli.DefaultHTTPRetries = "BOT", 0
	mach := crypto.NewOlmMachine(cli, nil, crypto.NewMemoryStore(nil), nil)
	if err := mach.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := mach.ShareKeys(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	return &identity{mach: mach, file: file, log: slog.New(slog.DiscardHandler)}
}

func (x *identity) signed(t *testing.T) bool {
	t.Helper()
	p, err := x.published(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return x.mach.CrossSigningKeys != nil && p.master == x.mach.CrossSigningKeys.MasterKey.PublicKey() &&
		p.signedBy(x.mach.CrossSigningKeys.SelfSigningKey.PublicKey())
}

func TestIdentityIsMadeOnce(t *testing.T) {
	s, file := newKeyServer(t), &memorySeeds{}
	x := s.bot(t, file)
	for range 2 {
		if err := x.ensure(t.Context()); err != nil || !x.signed(t) {
			t.Fatalf("%v, signed %v", err, x.signed(t))
		}
	}
	if !slices.Equal(s.signed, []string{"BOT"}) {
		t.Errorf("signatures for %q", s.signed)
	}
	master := s.keys["master_key"]
	first, err := x.setup(t.Context())
	if err != nil || first == "" {
		t.Fatal(first, err)
	}
	if again, err := x.setup(t.Context()); err != nil || again != first {
		t.Errorf("asked again before it was shown: %q, %v", again, err)
	}
	if err := x.shown(); err != nil || strings.Contains(string(file.data), first) {
		t.Errorf("kept after it was shown: %v", err)
	}

	// Another device with the same seeds, as after a restore.
	y := s.bot(t, file)
	if err := y.ensure(t.Context()); err != nil || !y.signed(t) {
		t.Fatalf("%v, signed %v", err, y.signed(t))
	}
	// Another device without them.
	lost := &memorySeeds{}
	z := s.bot(t, lost)
	if err := z.ensure(t.Context()); !errors.Is(err, ErrUnsigned) || lost.data != nil || z.mach.CrossSigningKeys != nil {
		t.Errorf("without seeds: %v", err)
	}
	for _, wrong := range []string{"", "EsTc", strings.Replace(first, "E", "F", 1)} {
		if err := z.recover(t.Context(), wrong); !errors.Is(err, ErrRecoveryKey) {
			t.Errorf("recovery key %q: %v", wrong, err)
		}
	}
	if err := z.recover(t.Context(), first); err != nil || !z.signed(t) || lost.data == nil {
		t.Fatalf("recovery: %v, signed %v", err, z.signed(t))
	}
	if got := s.keys["master_key"]; got == nil || jsonOf(t, got) != jsonOf(t, master) {
		t.Error("the master key is another one")
	}

	// A new recovery key takes the place of the old one.
	second, err := z.setup(t.Context())
	if err != nil || second == first || second == "" {
		t.Fatal(second, err)
	}
	if err := z.recover(t.Context(), first); !errors.Is(err, ErrRecoveryKey) {
		t.Errorf("the old recovery key: %v", err)
	}
	if err := z.recover(t.Context(), second); err != nil {
		t.Errorf("the new recovery key: %v", err)
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Whatever fails at first, the same seeds are published in the end.
func TestIdentityGoesOnWhereItStopped(t *testing.T) {
	for _, end := range []string{"/device_signing/upload", "/signatures/upload", "/m.cross_signing.master", "/m.secret_storage.default_key", "/keys/query"} {
		t.Run(strings.ReplaceAll(end, "/", " "), func(t *testing.T) {
			s, file := newKeyServer(t), &memorySeeds{}
			s.fail[end] = 1
			if err := s.bot(t, file).ensure(t.Context()); err == nil || errors.Is(err, ErrUnsigned) {
				t.Fatalf("%v", err)
			}
			x := s.bot(t, file)
			if err := x.ensure(t.Context()); err != nil || !x.signed(t) {
				t.Fatalf("%v, signed %v", err, x.signed(t))
			}
			recovery, err := x.setup(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			y := s.bot(t, &memorySeeds{})
			if err := y.recover(t.Context(), recovery); err != nil || !y.signed(t) {
				t.Errorf("recovery: %v", err)
			}
		})
	}
}

func TestIdentityIsReplacedWhereThatIsPossible(t *testing.T) {
	s := newKeyServer(t)
	if err := s.bot(t, &memorySeeds{}).ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := jsonOf(t, s.keys)
	s.guarded = true
	file := &memorySeeds{}
	x := s.bot(t, file)
	if _, err := x.setup(t.Context()); !errors.Is(err, ErrUnsigned) || file.data != nil || jsonOf(t, s.keys) != before {
		t.Errorf("where it is not possible: %v, %s", err, file.data)
	}
	x.password = "a password"
	if recovery, err := x.setup(t.Context()); err != nil || recovery == "" || !x.signed(t) {
		t.Errorf("with a password: %v", err)
	}
	if jsonOf(t, s.keys) == before {
		t.Error("the keys are the old ones")
	}
	// Seeds of another bot are not ours.
	other := &memorySeeds{data: []byte(strings.Replace(string(file.data), "@bot:x", "@tob:x", 1))}
	if err := s.bot(t, other).ensure(t.Context()); !errors.Is(err, ErrUnsigned) {
		t.Errorf("seeds of another: %v", err)
	}
	if err := s.bot(t, &memorySeeds{data: []byte(`{"v":9}`)}).ensure(t.Context()); err == nil {
		t.Error("seeds of another version were taken")
	}
}

// Seeds that can't be read are replaced where that is possible, and are left as they are where it is not.
func TestIdentityIsReplacedWhenItsSeedsCantBeRead(t *testing.T) {
	sealed := func(file Seeds, secret string) sealedSeeds {
		seal, err := newSealer([]byte(strings.Repeat(secret, minCryptoKey)))
		if err != nil {
			t.Fatal(err)
		}
		return sealedSeeds{file, seal}
	}
	s, file := newKeyServer(t), &memorySeeds{}
	if err := s.bot(t, sealed(file, "a")).ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := string(file.data)
	s.guarded = true
	x := s.bot(t, sealed(file, "b"))
	if _, err := x.setup(t.Context()); !errors.Is(err, ErrUnsigned) || string(file.data) != before {
		t.Errorf("where it is not possible: %v, the file is another one: %v", err, string(file.data) != before)
	}
	s.guarded = false
	if recovery, err := x.setup(t.Context()); err != nil || recovery == "" || !x.signed(t) {
		t.Errorf("%q, %v", recovery, err)
	}
}
