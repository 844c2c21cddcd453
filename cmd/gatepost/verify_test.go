package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gatepost/gatepost/internal/admin"
)

// fakeIdentity is a gateway with one verification, which goes on each time it is looked at.
type fakeIdentity struct {
	states  []string // of the verification, one a look; the last stays
	agreed  []bool
	shown   int
	problem string
	key     string // what it was recovered with

	accepted string // whose keys
}

func (f *fakeIdentity) Identity(context.Context) (identityInfo, error) {
	id := identityInfo{User: "@gatepost:x", Device: "GATE", Fingerprint: "abcdefgh", Signed: f.problem == "", Problem: f.problem}
	if len(f.states) > 0 {
		v := verificationInfo{ID: "$ask", User: "@alice:x", Device: "PHONE\x1b[2J", State: f.states[0]}
		switch v.State {
		case "shown":
			v.Emoji = []emojiInfo{{"🐶", "Dog"}, {"🔑", "Key"}}
		case "cancelled":
			v.Code = "m.mismatched_sas"
		}
		id.Verifications = append(id.Verifications, v)
		if len(f.states) > 1 {
			f.states = f.states[1:]
		}
	}
	return id, nil
}

func (f *fakeIdentity) AnswerVerification(_ context.Context, r answerRequest) error {
	if r.ID != "$ask" {
		return &admin.Error{Code: admin.NotFound, Text: "there is no such verification"}
	}
	f.agreed = append(f.agreed, r.Agree)
	return nil
}

func (f *fakeIdentity) SetupIdentity(context.Context) (recoveryReply, error) {
	return recoveryReply{"EsTb abcd"}, nil
}

func (f *fakeIdentity) RecoveryShown(context.Context) error { f.shown++; return nil }

func (f *fakeIdentity) RecoverIdentity(_ context.Context, r recoverRequest) error {
	f.key = r.RecoveryKey
	return nil
}

func (f *fakeIdentity) AcceptIdentity(_ context.Context, r acceptRequest) error {
	f.accepted = r.User
	return nil
}

func TestVerify(t *testing.T) {
	file := filepath.Join(t.TempDir(), "recovery.txt")
	if err := os.WriteFile(file, []byte(" EsTb abcd \n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		fake   fakeIdentity
		args   []string
		in     string
		code   int
		out    []string
		errOut string
		check  func(f *fakeIdentity) bool
	}{
		{
			name: "an owner who agrees", fake: fakeIdentity{states: []string{"asked", "comparing", "shown", "confirmed", "done"}}, in: "Yes\n",
			out:   []string{"abcd efgh", "signed       yes", "🐶 Dog   🔑 Key", "Verified: @alice:x with device PHONE\ufffd[2J."},
			check: func(f *fakeIdentity) bool { return len(f.agreed) == 1 && f.agreed[0] },
		},
		{
			name: "other emoji", fake: fakeIdentity{states: []string{"shown", "shown", "cancelled"}}, in: "no\n", code: 1, errOut: "m.mismatched_sas",
			check: func(f *fakeIdentity) bool { return len(f.agreed) == 1 && !f.agreed[0] },
		},
		{name: "no answer", fake: fakeIdentity{states: []string{"shown"}}, code: 1, errOut: "read the answer", check: func(f *fakeIdentity) bool { return f.agreed == nil }},
		{name: "nobody asks", args: []string{"--wait", "1ms"}, code: 1, errOut: "nobody has asked"},
		{name: "only a look", fake: fakeIdentity{problem: "no seeds here"}, args: []string{"--wait", "0"}, out: []string{"signed       no: no seeds here", "--recovery-key-file"}},
		{name: "json", fake: fakeIdentity{states: []string{"done"}}, args: []string{"--json"}, out: []string{`"state": "done"`, `"signed": true`}},
		{name: "match", args: []string{"--match", "$ask"}, check: func(f *fakeIdentity) bool { return len(f.agreed) == 1 && f.agreed[0] }},
		{name: "differ", args: []string{"--differ", "$ask"}, check: func(f *fakeIdentity) bool { return len(f.agreed) == 1 && !f.agreed[0] }},
		{name: "unknown", args: []string{"--match", "$other"}, code: 1, errOut: "no such verification"},
		{name: "setup", args: []string{"--setup"}, out: []string{"EsTb abcd", "not shown again"}, check: func(f *fakeIdentity) bool { return f.shown == 1 }},
		{name: "recovery", args: []string{"--recovery-key-file", file}, out: []string{"is signed"}, check: func(f *fakeIdentity) bool { return f.key == "EsTb abcd" }},
		{name: "recovery by hand", args: []string{"--recovery-key-file", "-"}, in: "EsTb abcd", check: func(f *fakeIdentity) bool { return f.key == "EsTb abcd" }},
		{name: "accept", args: []string{"--accept", "@bob:x"}, check: func(f *fakeIdentity) bool { return f.accepted == "@bob:x" }},
		{name: "no file", args: []string{"--recovery-key-file", file + "x"}, code: 1, errOut: "read the recovery key"},
		{name: "too much", args: []string{"--setup", "--match", "x"}, code: 2, errOut: "only one of"},
	} {
		t.Run(c.name, func(t *testing.T) {
			socket := serveVerbs(t, func(s *admin.Server) { serveVerifyControl(s, &c.fake) })
			var out, errOut bytes.Buffer
			code := run(append([]string{"verify", "--socket", socket}, c.args...), nil, strings.NewReader(c.in), &out, &errOut)
			if code != c.code || !strings.Contains(errOut.String(), c.errOut) {
				t.Errorf("code %d, %s", code, errOut.String())
			}
			for _, want := range c.out {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in %s", want, out.String())
				}
			}
			if c.check != nil && !c.check(&c.fake) {
				t.Errorf("the gateway was asked for %+v", c.fake)
			}
		})
	}
}

// The seeds are replaced as a whole and deleted on demand.
func TestSeedFile(t *testing.T) {
	f := newSeedFile(t.TempDir())
	for _, text := range []string{"", "one", "another", ""} {
		var b []byte
		if text != "" {
			b = []byte(text)
		}
		if err := f.Save(b); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Load(); err != nil || string(got) != text {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := f.Save([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(f.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
}
