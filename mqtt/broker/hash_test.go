package broker

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// cheapHash is an argon2id hash that takes no time.
func cheapHash(given string) string {
	salt := []byte("saltsalt")
	return argon2Hash{64, 1, 1, salt, argon2.IDKey([]byte(given), salt, 1, 64, 1, 32)}.String()
}

func cheapBcrypt(t testing.TB, given string) string {
	t.Helper()
	b, err := bcrypt.GenerateFromPassword([]byte(given), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHashPassword(t *testing.T) {
	t.Parallel()
	s, err := HashPassword([]byte("correct horse"))
	if err != nil {
		t.Fatal(err)
	}
	h, err := parseHash(s)
	if err != nil {
		t.Fatal(err)
	}
	if !h.verify([]byte("correct horse")) || h.verify([]byte("correct horsE")) || h.verify(nil) {
		t.Errorf("%s is not the hash of its password", s)
	}
	if other, _ := HashPassword([]byte("correct horse")); other == s {
		t.Error("two hashes of one password are the same")
	}
	for _, bad := range [][]byte{nil, make([]byte, maxPassword+1)} {
		if _, err := HashPassword(bad); err == nil {
			t.Errorf("a password of %d bytes was taken", len(bad))
		}
	}
}

// Hashes that other programs made.
func TestForeignHashes(t *testing.T) {
	t.Parallel()
	for s, right := range map[string]string{
		// The argon2 command line of the reference implementation: echo -n password | argon2 somesalt -id -t 2 -m 16 -p 1 -e
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc": "password",
		// A known answer of bcrypt.
		"$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i": "abc",
	} {
		h, err := parseHash(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		if !h.verify([]byte(right)) {
			t.Errorf("%s does not take %q", s, right)
		}
	}
}

func TestParseHashRefuses(t *testing.T) {
	t.Parallel()
	const salt, sum = "c29tZXNhbHQ", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
	for name, s := range map[string]string{
		"nothing":        "",
		"plain text":     "hunter2",
		"argon2i":        "$argon2i$v=19$m=65536,t=2,p=1$" + salt + "$" + sum,
		"old version":    "$argon2id$v=16$m=65536,t=2,p=1$" + salt + "$" + sum,
		"no version":     "$argon2id$m=65536,t=2,p=1$" + salt + "$" + sum,
		"no memory":      "$argon2id$v=19$m=0,t=2,p=1$" + salt + "$" + sum,
		"little memory":  "$argon2id$v=19$m=8,t=2,p=2$" + salt + "$" + sum,
		"much memory":    "$argon2id$v=19$m=4194304,t=2,p=1$" + salt + "$" + sum,
		"much of both":   "$argon2id$v=19$m=131072,t=9,p=1$" + salt + "$" + sum,
		"overflow":       "$argon2id$v=19$m=4294967297,t=2,p=1$" + salt + "$" + sum,
		"many passes":    "$argon2id$v=19$m=65536,t=17,p=1$" + salt + "$" + sum,
		"no pass":        "$argon2id$v=19$m=65536,t=0,p=1$" + salt + "$" + sum,
		"many lanes":     "$argon2id$v=19$m=65536,t=1,p=17$" + salt + "$" + sum,
		"lanes as uint8": "$argon2id$v=19$m=65536,t=1,p=257$" + salt + "$" + sum,
		"no salt":        "$argon2id$v=19$m=65536,t=2,p=1$$" + sum,
		"no sum":         "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$",
		"short sum":      "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$AAAA",
		"long sum":       "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + strings.Repeat("AAAA", 30),
		"padding":        "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "=$" + sum,
		"order":          "$argon2id$v=19$t=2,m=65536,p=1$" + salt + "$" + sum,
		"too much":       "$argon2id$v=19$m=65536,t=2,p=1$" + salt + "$" + sum + "$",
		"bcrypt short":   "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0",
		"bcrypt cost":    "$2a$15$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i",
		"md5":            "$1$abc$def",
	} {
		if h, err := parseHash(s); err == nil || h != nil {
			t.Errorf("%s: taken", name)
		} else if s != "" && strings.Contains(err.Error(), s) {
			t.Errorf("%s: the error shows the hash", name)
		}
	}
}

func TestBcryptTakesNothingCutOff(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxBcrypt)
	h, err := parseHash(cheapBcrypt(t, long))
	if err != nil {
		t.Fatal(err)
	}
	if !h.verify([]byte(long)) || h.verify([]byte(long+"y")) {
		t.Error("bytes beyond the 72nd do not count")
	}
}

// What is parsed writes itself as it was, and is within the bounds.
func FuzzParseHash(f *testing.F) {
	for _, s := range []string{cheapHash("a"), "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i", "$argon2id$v=19$m=8,t=1,p=1$$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseHash(s)
		if err != nil {
			return
		}
		h, ok := p.(argon2Hash)
		if !ok {
			return
		}
		if h.memory > maxHashMemory || h.memory < 8*uint32(h.lanes) || h.passes < 1 || h.passes > maxHashPasses || h.lanes < 1 || h.lanes > maxHashLanes {
			t.Errorf("%q: out of bounds: %+v", s, h)
		}
		again, err := parseHash(h.String())
		if err != nil || !samePassword(p, again) {
			t.Errorf("%q: written as %q: %v", s, h, err)
		}
	})
}

func TestAccountCheck(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a    Account
		want string // "" is fine
	}{
		{Account{User: "a", Password: "p"}, ""},
		{Account{User: "a", Hash: cheapHash("p")}, ""},
		{Account{User: "a", Certificate: "a.example"}, ""},
		{Account{User: "a", Anonymous: true}, ""},
		{Account{User: "a"}, "no password"},
		{Account{User: "a", Password: "p", Hash: cheapHash("p")}, "keep one"},
		{Account{User: "a", Hash: "secret"}, "not one of argon2id"},
		{Account{User: "", Password: "p"}, "1 to 65535 bytes"},
		{Account{User: "a\x00b", Password: "p"}, "without NUL"},
		{Account{User: "a/b", Password: "p", Publish: permissions(t, "x/{user}")}, "{user}"},
		{Account{User: "a/b", Password: "p", Publish: permissions(t, "x/{client}")}, ""},
	} {
		err := tc.a.Check()
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v, want %q", tc.a, err, tc.want)
		}
	}
	for want, list := range map[string][]Account{
		"there twice": {{User: "a", Password: "p"}, {User: "a", Password: "q"}},
		"is that of":  {{User: "a", Certificate: "x"}, {User: "b", Certificate: "x"}},
		"without a":   {{User: "a", Anonymous: true}, {User: "b", Anonymous: true}},
	} {
		if _, err := newAccounts(list, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", list, err, want)
		}
	}
	_, err := New(Config{Listeners: []string{"mqtt://127.0.0.1:0"}, Store: newMemory(), Deliver: (&fixture{}).deliver, Accounts: []Account{{User: "a", Certificate: "x"}}})
	if !errors.Is(err, ErrNoClientCA) {
		t.Errorf("a certificate without those who sign it: %v", err)
	}
}
