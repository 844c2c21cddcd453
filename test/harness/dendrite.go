package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Dendrite is the homeserver of the everyday tests: SQLite, ready in half a second.
type Dendrite struct {
	process *Process
	dir     string
	url     string
	secret  string
}

const dendriteName = "localhost" // its server name

// NewDendrite prepares a Dendrite in dir, which must exist, out of the programs in bin. registration is the file of an
// application service, "" for none.
func NewDendrite(bin, dir, registration string) (*Dendrite, error) {
	ports, err := FreePorts(1)
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", ports[0])
	d := &Dendrite{dir: dir, url: "http://" + address, secret: Secret()}
	keys := exec.Command(filepath.Join(bin, "generate-keys"), "-private-key", filepath.Join(dir, "matrix_key.pem"))
	if out, err := keys.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("make the homeserver's key: %w: %s", err, out)
	}
	services := "[]"
	if registration != "" {
		services = fmt.Sprintf("[%q]", registration)
	}
	text := fmt.Sprintf(dendriteConfig, dendriteName, services, d.secret)
	if err := os.WriteFile(filepath.Join(dir, "dendrite.yaml"), []byte(text), 0o600); err != nil {
		return nil, err
	}
	d.process, err = newProcess("dendrite", filepath.Join(bin, "dendrite"), dir, nil,
		"-config", "dendrite.yaml", "-http-bind-address", address)
	return d, err
}

// RoomVersion sets the version of rooms that are made without one. Called before Start.
func (d *Dendrite) RoomVersion(version string) error {
	file := filepath.Join(d.dir, "dendrite.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	changed := strings.Replace(string(text), "room_server:\n", fmt.Sprintf("room_server:\n  default_room_version: %q\n", version), 1)
	return os.WriteFile(file, []byte(changed), 0o600)
}

func (d *Dendrite) Kind() string       { return "dendrite" }
func (d *Dendrite) URL() string        { return d.url }
func (d *Dendrite) ServerName() string { return dendriteName }
func (d *Dendrite) Log() *Log          { return d.process.Log() }
func (d *Dendrite) Kill()              { d.process.Kill() }

func (d *Dendrite) Start(ctx context.Context) error {
	if err := d.process.start(); err != nil {
		return err
	}
	return awaitAnswer(ctx, d.process, d.url)
}

func (d *Dendrite) Stop() error {
	_, err := d.process.Stop(10 * time.Second)
	return err
}

func (d *Dendrite) Register(ctx context.Context, localpart, password string) error {
	return registerShared(ctx, d.url, d.secret, localpart, password)
}

// dendriteConfig takes server name, registrations and registration secret. Nothing in it reaches beyond loopback:
// federation, statistics and the identity servers are off, and its NATS speaks inside the process.
const dendriteConfig = `version: 2
global:
  server_name: %s
  private_key: matrix_key.pem
  key_validity_period: 168h0m0s
  disable_federation: true
  trusted_third_party_id_servers: []
  cache: {max_size_estimated: 64mb, max_age: 1h}
  presence: {enable_inbound: false, enable_outbound: false}
  report_stats: {enabled: false}
  server_notices: {enabled: false}
  jetstream: {storage_path: ./jetstream, topic_prefix: Dendrite}
  metrics: {enabled: false}
app_service_api:
  database: {connection_string: "file:appservice.db"}
  config_files: %s
client_api:
  registration_disabled: true
  guests_disabled: true
  registration_shared_secret: %q
  rate_limiting: {enabled: false, threshold: 20, cooloff_ms: 500}
federation_api:
  database: {connection_string: "file:federationapi.db"}
  key_perspectives: []
key_server:
  database: {connection_string: "file:keyserver.db"}
media_api:
  base_path: ./media
  max_file_size_bytes: 10485760
  database: {connection_string: "file:mediaapi.db"}
mscs:
  mscs: []
  database: {connection_string: "file:mscs.db"}
relay_api:
  database: {connection_string: "file:relayapi.db"}
room_server:
  database: {connection_string: "file:roomserver.db"}
sync_api:
  database: {connection_string: "file:syncapi.db"}
user_api:
  bcrypt_cost: 10
  account_database: {connection_string: "file:userapi.db"}
  device_database: {connection_string: "file:userapi.db"}
logging:
  - {type: std, level: info}
`
