package wire

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"time"
)

// Credential is what a client knows of itself.
type Credential struct {
	Username string
	Password string
}

// Mint makes a credential as homeservers do: the name carries the expiry, the password is an HMAC over it.
func Mint(secret, user string, expiry time.Time) Credential {
	name := fmt.Sprintf("%d:%s", expiry.Unix(), user)
	h := hmac.New(sha1.New, []byte(secret))
	h.Write([]byte(name))
	return Credential{Username: name, Password: base64.StdEncoding.EncodeToString(h.Sum(nil))}
}

// Key is the long-term key of RFC 8489 section 9.2.2, with MD5.
func (c Credential) Key(realm string) []byte {
	k := md5.Sum([]byte(c.Username + ":" + realm + ":" + c.Password))
	return k[:]
}
