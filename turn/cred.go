package turn

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"math"
	"strconv"
	"strings"
	"time"
)

// maxUsername is the longest USERNAME (RFC 8489 section 14.3: fewer than 509 bytes).
const maxUsername = 508

// Mint makes the credential that homeservers hand out (the TURN REST API, draft-uberti-behave-turn-rest): good for
// Allocate until expiry, at any Server with the same secret. user may hold any text, an empty one too. It is a pure
// function: whoever knows the secret may call it.
func Mint(secret, user string, expiry time.Time) (username, password string) {
	username = strconv.FormatInt(expiry.Unix(), 10)
	if user != "" {
		username += ":" + user
	}
	return username, ephemeral([]byte(secret), username)
}

func ephemeral(secret []byte, username string) string {
	mac := hmac.New(sha1.New, secret)
	mac.Write([]byte(username))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// algorithm is how a password becomes a key (RFC 8489 section 18.5).
type algorithm uint16

// The algorithms.
const (
	withMD5    algorithm = 1
	withSHA256 algorithm = 2
)

// key is what messages of a user are signed with (RFC 8489 section 9.2.2 and 18.5.1). The zero value is none.
type key struct {
	algorithm algorithm
	bytes     [sha256.Size]byte // of MD5 the first 16
}

func (k *key) secret() []byte {
	if k.algorithm == withMD5 {
		return k.bytes[:md5.Size]
	}
	return k.bytes[:]
}

func makeKey(how algorithm, username, realm, password string) key {
	k := key{algorithm: how}
	text := []byte(username + ":" + realm + ":" + password)
	if how == withMD5 {
		sum := md5.Sum(text)
		copy(k.bytes[:], sum[:])
	} else {
		k.bytes = sha256.Sum256(text)
	}
	return k
}

// credentials knows who may use the server. It is never changed, so it is safe for concurrent use.
type credentials struct {
	realm   string
	secrets [][]byte
	users   map[string]string // name -> password
	hashes  map[[sha256.Size]byte]string
}

func newCredentials(realm string, secrets []string, users []User) *credentials {
	c := &credentials{realm: realm, users: map[string]string{}, hashes: map[[sha256.Size]byte]string{}}
	for _, s := range secrets {
		c.secrets = append(c.secrets, []byte(s))
	}
	for _, u := range users {
		c.users[u.Name] = u.Password
		c.hashes[sha256.Sum256([]byte(u.Name+":"+realm))] = u.Name
	}
	return c
}

// identity is what a user name says, before anything is proved.
type identity struct {
	user    string // whose quotas count
	expires int64  // Unix seconds
}

// identify reads a user name: a static user's, or expiry:anything or a bare expiry if there is a secret. Nobody else's.
func (c *credentials) identify(username string) (identity, bool) {
	if _, static := c.users[username]; static {
		return identity{user: username, expires: math.MaxInt64}, true
	}
	if len(c.secrets) == 0 {
		return identity{}, false
	}
	digits, user, _ := strings.Cut(username, ":")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return identity{}, false
	}
	expires, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return identity{}, false
	}
	if user == "" {
		user = username
	}
	return identity{user, expires}, true
}

// prove finds the key of an identified user name under which ok is true. ok compares in constant time.
func (c *credentials) prove(username string, how algorithm, ok func(*key) bool) (key, bool) {
	if password, static := c.users[username]; static {
		k := makeKey(how, username, c.realm, password)
		return k, ok(&k)
	}
	for _, secret := range c.secrets {
		k := makeKey(how, username, c.realm, ephemeral(secret, username))
		if ok(&k) {
			return k, true
		}
	}
	return key{}, false
}

// byHash is the static user whose USERHASH it is (RFC 8489 section 14.4). Minted names can't be found from their hash.
func (c *credentials) byHash(hash []byte) (string, bool) {
	if len(hash) != sha256.Size {
		return "", false
	}
	name, ok := c.hashes[[sha256.Size]byte(hash)]
	return name, ok
}
