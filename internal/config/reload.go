package config

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// change says how a changed key comes into force.
type change struct {
	path string // a key, or a section with all that is in it
	live bool   // at a reload; false: at the next start
}

// changes is the one table of what a reload can do. It covers every key.
func changes() []change {
	const live, restart = true, false
	return []change{
		{"matrix.homeserver", restart},
		{"matrix.server_name", restart},
		{"matrix.mode", restart},
		{"matrix.registration", restart},
		{"matrix.listen", restart},
		{"matrix.user", restart},
		{"matrix.password", restart},
		{"matrix.token", restart},
		{"matrix.owners", live},
		{"matrix.members", live},
		{"matrix.control_room", restart},
		{"matrix.encryption", restart},
		{"mqtt.listen", restart},
		{"mqtt.url", restart},
		{"mqtt.client_id", restart},
		{"mqtt.user", restart},
		{"mqtt.password", restart},
		{"mqtt.ca_file", restart},
		{"mqtt.cert_file", restart},
		{"mqtt.key_file", restart},
		{"mqtt.max_payload", restart},
		{"mqtt.anonymous", restart},
		{"mqtt.client_ca_file", restart},
		{"mqtt.origins", restart},
		{"mqtt.accounts", live},
		{"mqtt.limits", restart},
		{"mqtt.sessions", restart},
		{"mqtt.queue", restart},
		{"mqtt.retained", restart},
		{"discovery", restart},
		{"conventions", restart},
		{"devices", live},
		{"card", restart},
		{"calls", restart},
		{"turn.listen", restart},
		{"turn.public_ip", restart},
		{"turn.realm", restart},
		{"turn.secret", live},
		{"turn.old_secret", live},
		{"turn.users", live},
		{"turn.cert_file", restart},
		{"turn.key_file", restart},
		{"turn.relay_ports", restart},
		{"turn.allow_peers", restart},
		{"turn.drain", restart},
		{"turn.limits.allocations_per_user", live},
		{"turn.limits.bytes_per_second_per_user", live},
		{"turn.limits.allocations", live},
		{"turn.limits.connections", restart},
		{"turn.limits.connections_per_address", restart},
		{"turn.limits.answers", restart},
		{"turn.limits.answers_per_network", restart},
		{"crypto", restart},
		{"commands", live},
		{"timezone", live},
		{"store", restart},
		{"admin", restart},
		{"log.level", live},
		{"log.format", restart},
	}
}

// Diff names the keys in which two configurations differ: those that a reload brings into force, and those that wait for
// the next start. A section that only one of the two has waits as a whole.
func Diff(old, next *Config) (live, restart []string) {
	for _, c := range changes() {
		a, b, section := pick(old, next, c.path)
		switch {
		case section != "":
			if !slices.Contains(restart, section) {
				restart = append(restart, section)
			}
		case !a.IsValid() || same(a, b):
		case c.live:
			live = append(live, c.path)
		default:
			restart = append(restart, c.path)
		}
	}
	return live, restart
}

// pick finds a key in two configurations. When a section around it is there in only one of them, that section is named;
// when in neither, the values are not valid.
func pick(old, next *Config, path string) (a, b reflect.Value, section string) {
	a, b = reflect.ValueOf(old).Elem(), reflect.ValueOf(next).Elem()
	at := ""
	for name := range strings.SplitSeq(path, ".") {
		for a.Kind() == reflect.Pointer {
			if a.IsNil() != b.IsNil() {
				return a, b, at
			}
			if a.IsNil() {
				return reflect.Value{}, reflect.Value{}, ""
			}
			a, b = a.Elem(), b.Elem()
		}
		keys := fields(a.Type())
		i := slices.IndexFunc(keys, func(f field) bool { return f.name == name })
		a, b = a.Field(keys[i].index), b.Field(keys[i].index)
		at = join(at, name)
	}
	return a, b, ""
}

func same(a, b reflect.Value) bool {
	if zone, ok := a.Interface().(*time.Location); ok {
		return zone.String() == b.Interface().(*time.Location).String()
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}

// Reloader holds the configuration in use. Safe for concurrent use.
type Reloader struct {
	load    func() (*Config, error)
	current atomic.Pointer[Config]

	mu     sync.Mutex // one reload at a time; guards verify
	verify []func(next *Config) error
}

// NewReloader begins with cfg; load reads the file again.
func NewReloader(cfg *Config, load func() (*Config, error)) *Reloader {
	r := &Reloader{load: load}
	r.current.Store(cfg)
	return r
}

// Current is the configuration in use. It is never changed; hold it no longer than one piece of work.
func (r *Reloader) Current() *Config { return r.current.Load() }

// Verify adds a function that may say no to a new configuration. It is called by Reload, one call at a time, and must not
// apply anything yet nor call the Reloader.
func (r *Reloader) Verify(f func(next *Config) error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.verify = append(r.verify, f)
}

// Reload reads the file again. When it is bad, or a Verify function says no, the configuration stays what it is and the
// error says why. Otherwise Current is from now on the running configuration with the live keys of the file, and changed
// keys that need a restart are named and stay as they are.
func (r *Reloader) Reload() (live, restart []string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	file, err := r.load()
	if err != nil {
		return nil, nil, err
	}
	old := r.Current()
	live, restart = Diff(old, file)
	next := merge(old, file)
	for _, verify := range r.verify {
		if err := verify(next); err != nil {
			return nil, nil, err
		}
	}
	r.current.Store(next)
	return live, restart, nil
}

// merge is old with the live keys of file, and with the places and warnings of file.
func merge(old, file *Config) *Config {
	next := *old
	if old.Matrix != nil {
		next.Matrix = new(*old.Matrix)
	}
	if old.MQTT != nil {
		next.MQTT = new(*old.MQTT)
	}
	if old.Turn != nil {
		next.Turn = new(*old.Turn)
	}
	for _, c := range changes() {
		if !c.live {
			continue
		}
		to, from, section := pick(&next, file, c.path)
		if section == "" && to.IsValid() {
			to.Set(from)
		}
	}
	next.places, next.Warnings = file.places, file.Warnings
	return &next
}
