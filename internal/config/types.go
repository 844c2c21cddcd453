package config

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
)

// Config is a whole configuration file with the defaults filled in. Sections that are nil were not given. Durations are
// time.Duration, sizes are bytes, file names are relative to the working directory or absolute.
//
// Tags: key names the YAML key ("path": a file name, made relative to the file's folder; "required": must be given);
// oneof lists the possible values; want says what is expected when nothing is there.
type Config struct {
	Matrix      *Matrix        `key:"matrix"`
	MQTT        *MQTT          `key:"mqtt"`
	Discovery   string         `key:"discovery" oneof:"ask auto off"`
	Conventions []string       `key:"conventions"`
	Devices     []Device       `key:"devices"`
	Card        *Card          `key:"card"`
	Calls       *Calls         `key:"calls"`
	Turn        *Turn          `key:"turn"`
	Crypto      *Crypto        `key:"crypto"`
	Commands    Commands       `key:"commands"`
	Timezone    *time.Location `key:"timezone"` // never nil
	Store       Store          `key:"store"`
	Admin       Admin          `key:"admin"`
	Log         Log            `key:"log"`

	// Warnings are for people: "file:line:col: key: text" each.
	Warnings []string

	places places
}

// The values of Matrix.Encryption and Device.Encryption.
const (
	EncryptionOff     = "off"     // nothing is sent to encrypted rooms
	EncryptionAllow   = "allow"   // where a person turned it on
	EncryptionDefault = "default" // rooms that gatepost makes are encrypted
	EncryptionRequire = "require" // and nothing is sent to any other
)

// The values of Matrix.Mode.
const (
	ModeAppservice = "appservice"
	ModeAccount    = "account"
)

// Matrix says which homeserver and as whom.
type Matrix struct {
	Homeserver   string       `key:"homeserver,required" want:"the URL of the homeserver, such as http://127.0.0.1:8008"` // without a trailing slash
	ServerName   string       `key:"server_name,required" want:"the name after the colon of Matrix ids, such as example.org"`
	Mode         string       `key:"mode" oneof:"appservice account"`
	Registration string       `key:"registration,path"` // appservice mode only; see LoadRegistration
	Listen       string       `key:"listen"`            // appservice mode only; host:port
	User         string       `key:"user"`              // localpart
	Password     Secret       `key:"password"`          // account mode: this or Token
	Token        Secret       `key:"token"`
	Owners       []ids.UserID `key:"owners"`
	Members      []Member     `key:"members"`
	ControlRoom  string       `key:"control_room"` // alias localpart
	Encryption   string       `key:"encryption" oneof:"off allow default require"`
}

// Bot is the Matrix id of the gateway's own user.
func (m *Matrix) Bot() ids.UserID { return ids.UserID("@" + m.User + ":" + m.ServerName) }

// Member is a person with rights in the rooms.
type Member struct {
	User   ids.UserID `key:"user,required" want:"a Matrix user id, such as @bob:example.org"`
	Power  int        `key:"power"`  // 0 to 100
	Hours  Hours      `key:"hours"`  // zero: always; the same wherever somebody is named
	Spaces []string   `key:"spaces"` // names of those in whose rooms this is so; empty: everywhere
}

// MQTT is the embedded broker (Listen) or an outside one (URL); exactly one of the two is set.
type MQTT struct {
	Listen     []string `key:"listen"` // URLs with port: mqtt, mqtts, ws, wss
	URL        string   `key:"url"`    // with port
	ClientID   string   `key:"client_id"`
	User       string   `key:"user"`
	Password   Secret   `key:"password"`
	CAFile     string   `key:"ca_file,path"`
	CertFile   string   `key:"cert_file,path"`
	KeyFile    string   `key:"key_file,path"`
	MaxPayload Size     `key:"max_payload"`

	// The embedded broker only.
	ClientCAFile string        `key:"client_ca_file,path"` // "": clients are not asked for certificates
	Origins      []string      `key:"origins"`             // of pages that may connect over WebSocket, besides those of the listener itself
	Anonymous    bool          `key:"anonymous"`
	Accounts     []Account     `key:"accounts"`
	Limits       *MQTTLimits   `key:"limits"` // this and the next three: nil with an outside broker only
	Sessions     *MQTTSessions `key:"sessions"`
	Queue        *MQTTQueue    `key:"queue"`
	Retained     *MQTTRetained `key:"retained"`
}

// Account is somebody who may log in to the embedded broker: by Password or PasswordHash, by Certificate, or by giving no
// name (Anonymous); at least one is set.
type Account struct {
	User         string   `key:"user,required" want:"the name the client logs in with"`
	Password     Secret   `key:"password"`
	PasswordHash Secret   `key:"password_hash"` // argon2id as a PHC string, or bcrypt
	Certificate  string   `key:"certificate"`   // a name in the client's certificate; "": none lets in
	Anonymous    bool     `key:"anonymous"`
	Publish      []string `key:"publish"` // topic filters with {user} and {client}
	Subscribe    []string `key:"subscribe"`
}

// MQTTLimits bound what clients can take of the embedded broker. All are more than 0.
type MQTTLimits struct {
	Connections           int           `key:"connections"`
	ConnectionsPerAddress int           `key:"connections_per_address"`
	LoginFailures         int           `key:"login_failures"` // in a minute
	ConnectTime           time.Duration `key:"connect_time"`
}

// MQTTSessions bound what clients leave behind at the embedded broker. Both are more than 0.
type MQTTSessions struct {
	Expire time.Duration `key:"expire"`
	Max    int           `key:"max"`
}

// The values of MQTTQueue.Full.
const (
	QueueDropOldest = "drop_oldest"
	QueueRefuse     = "refuse"
)

// MQTTQueue bounds what waits for one session. Both numbers are more than 0.
type MQTTQueue struct {
	Messages int    `key:"messages"`
	Bytes    Size   `key:"bytes"`
	Full     string `key:"full" oneof:"drop_oldest refuse"`
}

// MQTTRetained bounds what is retained of all topics. Both are more than 0.
type MQTTRetained struct {
	Messages int  `key:"messages"`
	Bytes    Size `key:"bytes"`
}

// Device is one rule: what to do with the topics that match. The first rule that matches wins.
type Device struct {
	Topic      string            `key:"topic,required" want:"a topic with {captures}, such as sensors/{device}/{reading}"`
	Device     string            `key:"device"`                                                                                                                                                    // "": {device}, or all captures joined by "-"
	Name       string            `key:"name"`                                                                                                                                                      // "": as Device
	Room       string            `key:"room"`                                                                                                                                                      // "": a room of its own
	Space      string            `key:"space"`                                                                                                                                                     // "": none
	Kind       string            `key:"kind" oneof:"lock alarm_panel siren camera valve cover climate water_heater humidifier fan vacuum lawn_mower lamp plug drone tracker remote sensor bridge"` // "": nobody says
	Class      string            `key:"class" oneof:"alarm event state telemetry"`
	Every      time.Duration     `key:"every"`   // more than 0 with class telemetry, else 0
	ID         string            `key:"id"`      // Jinja; "": none
	Post       string            `key:"post"`    // Jinja; "": by payload kind
	Silence    time.Duration     `key:"silence"` // 0: never
	Encryption string            `key:"encryption" oneof:"off allow default require"`
	Alarms     []Alarm           `key:"alarms"`
	Commands   []Command         `key:"commands"`
	Call       *Call             `key:"call"`
	Ring       *Ring             `key:"ring"`
	Keys       map[string]string `key:"keys"` // digit to command name
	Snapshot   *Snapshot         `key:"snapshot"`
	MaxCall    time.Duration     `key:"max_call"` // more than 0 with Call
}

// Alarm is a condition on a message. All three are Jinja.
type Alarm struct {
	When  string `key:"when,required" want:"a condition, such as \"{{ value > 60 }}\""`
	Text  string `key:"text,required" want:"what people are told, such as \"hot: {{ value }}\""`
	Clear string `key:"clear"` // "": when When no longer holds
}

// The values of Command.Grade.
const (
	GradeRead      = "read"
	GradeOperate   = "operate"
	GradeDangerous = "dangerous"
)

// Command is an action of a device that a person may ask for.
type Command struct {
	Name    string        `key:"name,required" want:"the word people type after !, such as unlock"`
	Topic   string        `key:"topic,required" want:"the topic that the device listens to"`
	Payload string        `key:"payload"` // Jinja
	QoS     byte          `key:"qos"`     // 0 or 1
	Retain  bool          `key:"retain"`
	Confirm *Confirm      `key:"confirm"` // nil: the device does not answer
	Grade   string        `key:"grade" oneof:"read operate dangerous"`
	Expires time.Duration `key:"expires"` // more than 0
	Repeat  bool          `key:"repeat"`
	Args    []Arg         `key:"args"`   // what stands behind the name; none: any text
	People  []ids.UserID  `key:"people"` // only they may ask; none: all who have the power
}

// Arg is an argument of a command.
type Arg struct {
	Name     string   `key:"name,required" want:"the name by which the payload knows it, such as target"`
	Label    string   `key:"label"`
	Kind     string   `key:"kind" oneof:"number text on_off option time"` // never "" after Load
	Unit     string   `key:"unit"`
	Range    Range    `key:"range"` // of a number, or of the length of a text
	Step     float64  `key:"step"`  // 0: any
	Options  []string `key:"options"`
	On       string   `key:"on"`
	Off      string   `key:"off"`
	Optional bool     `key:"optional"`
	Secret   bool     `key:"secret"`
}

// The values of Arg.Kind.
const (
	KindNumber = "number"
	KindText   = "text"
	KindOnOff  = "on_off"
	KindOption = "option"
	KindTime   = "time"
)

// Confirm is the device's own answer to a command.
type Confirm struct {
	Topic   string `key:"topic,required" want:"the topic on which the device answers"`
	Payload string `key:"payload"` // Jinja; "": any payload
}

// Call says how the device is called; exactly one of the strings is set.
type Call struct {
	MQTT     string `key:"mqtt"`
	WHEP     string `key:"whep"`    // URL
	RTSP     string `key:"rtsp"`    // URL
	Libpeer  string `key:"libpeer"` // topic prefix, with captures
	RTP      string `key:"rtp"`     // rtp://HOST..., as package voip/source reads it
	Announce string `key:"announce"`

	Record time.Duration `key:"record"` // with Announce; 0: nothing is recorded
}

// Ring is a message on which the device calls people.
type Ring struct {
	Topic   string        `key:"topic,required" want:"the topic of the bell"`
	People  []ids.UserID  `key:"people,required" want:"a list of Matrix user ids"`
	AtOnce  bool          `key:"at_once"` // all of them; else in turn
	Timeout time.Duration `key:"timeout"` // in all
}

// Snapshot says where a picture of the device comes from; exactly one is set.
type Snapshot struct {
	Topic string `key:"topic"`
	URL   string `key:"url"`
}

// Card is the status card of a device.
type Card struct {
	Every time.Duration `key:"every"`
}

// Calls is the media port of terminated calls.
type Calls struct {
	ListenUDP  string         `key:"listen_udp"` // host:port
	ListenTCP  string         `key:"listen_tcp"` // "": none
	Interfaces []string       `key:"interfaces"` // empty: all
	AllowPeers []netip.Prefix `key:"allow_peers"`
}

// Turn is the relay.
type Turn struct {
	Listen     []string       `key:"listen"` // URLs with IP address, or none, and port: udp, tcp, tls
	PublicIP   []netip.Addr   `key:"public_ip"`
	Realm      string         `key:"realm,required" want:"the realm of the credentials, such as example.org"`
	Secret     Secret         `key:"secret"`
	OldSecret  Secret         `key:"old_secret"` // still good while the homeserver gets the new one
	Users      []TurnUser     `key:"users"`
	CertFile   string         `key:"cert_file,path"`
	KeyFile    string         `key:"key_file,path"`
	RelayPorts PortRange      `key:"relay_ports"`
	AllowPeers []netip.Prefix `key:"allow_peers"`
	Drain      time.Duration  `key:"drain"`
	Limits     TurnLimits     `key:"limits"`
}

// TurnUser is a static user of the relay.
type TurnUser struct {
	User     string `key:"user,required" want:"the user name"`
	Password Secret `key:"password,required" want:"a password, or password_file"`
}

// TurnLimits bound what the relay's users may do.
type TurnLimits struct {
	AllocationsPerUser    int  `key:"allocations_per_user"`
	BytesPerSecondPerUser Size `key:"bytes_per_second_per_user"`
	Allocations           int  `key:"allocations"`
	Connections           int  `key:"connections"`             // TCP and TLS
	ConnectionsPerAddress int  `key:"connections_per_address"` // TCP and TLS
	Answers               int  `key:"answers"`                 // a second, to clients that have not logged in
	AnswersPerNetwork     int  `key:"answers_per_network"`
}

// Crypto is about end-to-end encryption.
type Crypto struct {
	KeyFile string `key:"key_file,path"`
	Trust   string `key:"trust" oneof:"all cross-signed verified"`
}

// Commands is what holds for all commands.
type Commands struct {
	RequireVerified bool    `key:"require_verified"`
	Offline         string  `key:"offline" oneof:"refuse queue"`
	Limits          []Limit `key:"limits"` // the first that is about a command counts
}

// OfflineQueue is the value of Commands.Offline by which a command waits for its device until it expires.
const OfflineQueue = "queue"

// Limit says who may ask for a command, also one that the device announced itself.
type Limit struct {
	Device  string       `key:"device"` // its id; "": any
	Command string       `key:"command,required" want:"the name of a command, such as unlock"`
	Grade   string       `key:"grade" oneof:"read operate dangerous"` // "": as it is
	People  []ids.UserID `key:"people"`
}

// Store says where the state is kept.
type Store struct {
	Path    string `key:"path,path"` // folder
	MaxSize Size   `key:"max_size"`
}

// Admin is how people and programs of this machine look into a running gateway.
type Admin struct {
	Listen string `key:"listen"` // host:port; "": none
	Token  Secret `key:"token"`
	Socket string `key:"socket,path"` // never empty
}

// Log says what is logged and how.
type Log struct {
	Level  slog.Level `key:"level"`
	Format string     `key:"format" oneof:"text json"`
}
