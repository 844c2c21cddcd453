package harness

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// Synapse is the homeserver that most people run: SQLite, one process, ready in some seconds.
type Synapse struct {
	process *Process
	url     string
	secret  string
}

const synapseName = "localhost" // its server name

// SynapseOptions vary a Synapse; the zero value is one without application services and without limits.
type SynapseOptions struct {
	Registration string // file of an application service, "": none
	RoomVersion  string // of rooms that name none; "": Synapse's own default
	Limited      bool   // ordinary users meet the rate limits that Synapse comes with, save those of the log-in
}

// NewSynapse prepares a Synapse in dir, which must exist. venv is a Python environment that it is installed in.
func NewSynapse(venv, dir string, o SynapseOptions) (*Synapse, error) {
	ports, err := FreePorts(1)
	if err != nil {
		return nil, err
	}
	s := &Synapse{url: "http://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[0])), secret: Secret()}
	seed := make([]byte, 32)
	_, _ = rand.Read(seed) // never fails
	key := "ed25519 a_test " + base64.RawStdEncoding.EncodeToString(seed) + "\n"
	if err := os.WriteFile(filepath.Join(dir, "signing.key"), []byte(key), 0o600); err != nil {
		return nil, err
	}
	services := "[]"
	if o.Registration != "" {
		services = fmt.Sprintf("[%q]", o.Registration)
	}
	text := fmt.Sprintf(synapseConfig, synapseName, ports[0], services, s.secret, Secret(), Secret())
	if o.RoomVersion != "" {
		text += fmt.Sprintf("default_room_version: %q\n", o.RoomVersion)
	}
	if !o.Limited {
		text += synapseUnlimited
	}
	if err := os.WriteFile(filepath.Join(dir, "homeserver.yaml"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	s.process, err = newProcess("synapse", filepath.Join(venv, "bin", "python"), dir, nil,
		"-m", "synapse.app.homeserver", "--config-path", "homeserver.yaml")
	return s, err
}

func (s *Synapse) Kind() string       { return "synapse" }
func (s *Synapse) URL() string        { return s.url }
func (s *Synapse) ServerName() string { return synapseName }
func (s *Synapse) Log() *Log          { return s.process.Log() }
func (s *Synapse) Kill()              { s.process.Kill() }

func (s *Synapse) Start(ctx context.Context) error {
	if err := s.process.start(); err != nil {
		return err
	}
	return awaitAnswer(ctx, s.process, s.url)
}

func (s *Synapse) Stop() error {
	_, err := s.process.Stop(20 * time.Second)
	return err
}

func (s *Synapse) Register(ctx context.Context, localpart, password string) error {
	return registerShared(ctx, s.url, s.secret, localpart, password)
}

// synapseConfig takes server name, port, registrations and three secrets. Nothing in it reaches beyond loopback:
// federation, statistics, previews of links and foreign keys are off.
const synapseConfig = `server_name: %s
listeners:
  - port: %d
    bind_addresses: [127.0.0.1]
    type: http
    tls: false
    resources: [{names: [client], compress: false}]
database: {name: sqlite3, args: {database: homeserver.db}}
app_service_config_files: %s
registration_shared_secret: %q
macaroon_secret_key: %q
form_secret: %q
signing_key_path: signing.key
media_store_path: media
max_upload_size: 10M
trusted_key_servers: []
suppress_key_server_warning: true
federation_domain_whitelist: []
url_preview_enabled: false
report_stats: false
enable_registration: false
presence: {enabled: false}
stats: {enabled: false}
user_directory: {enabled: false}
bcrypt_rounds: 4
rc_registration: &none {per_second: 10000, burst_count: 10000}
rc_login: {address: *none, account: *none, failed_attempts: *none}
`

// synapseUnlimited goes after synapseConfig.
const synapseUnlimited = `rc_message: *none
rc_admin_redaction: *none
rc_joins: {local: *none, remote: *none}
rc_joins_per_room: *none
rc_invites: {per_room: *none, per_user: *none, per_issuer: *none}
rc_room_creation: *none
rc_reports: *none
rc_media_create: *none
rc_presence: {per_user: *none}
`
