package harness

import (
	"fmt"
	"os"
)

// Registration is what a homeserver knows of gatepost as an application service.
type Registration struct {
	URL     string // where gatepost takes transactions
	ASToken string
	HSToken string
}

// NewRegistration has fresh tokens for a gatepost that listens on a port of 127.0.0.1.
func NewRegistration(port int) Registration {
	return Registration{URL: fmt.Sprintf("http://127.0.0.1:%d", port), ASToken: Secret(), HSToken: Secret()}
}

// WriteFile puts the registration into a file for homeserver and gatepost alike.
func (r Registration) WriteFile(path, serverName string) error {
	text := fmt.Sprintf(`id: gatepost
url: %s
as_token: %s
hs_token: %s
sender_localpart: gatepost_appservice
rate_limited: false
namespaces:
  users:
    - {regex: '^@gatepost_.*:%[4]s$', exclusive: true}
    - {regex: '^@gatepost:%[4]s$', exclusive: true}
  aliases:
    - {regex: '^#gatepost_.*:%[4]s$', exclusive: true}
    - {regex: '^#gatepost:%[4]s$', exclusive: true}
  rooms: []
`, r.URL, r.ASToken, r.HSToken, serverName)
	return os.WriteFile(path, []byte(text), 0o600)
}
