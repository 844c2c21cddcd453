package arch

import (
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// open may be imported by every package: words and counters without a life of their own.
var open = []string{"internal/ids", "internal/logkey", "internal/metrics"}

// arrows says which of our packages each of our packages may import besides the open ones; "*" is any. A package that is
// not here is forbidden to exist: give it a line, and think about it.
var arrows = map[string][]string{
	"cmd/gatepost": {"*"},

	"gateway":           {"gateway/action", "gateway/avatar", "gateway/card", "gateway/discovery", "gateway/lane", "gateway/room", "gateway/media", "mqtt/topic", "mqtt/convention", "internal/template"},
	"gateway/action":    {"mqtt/topic", "mqtt/convention", "internal/template"},
	"gateway/avatar":    {"mqtt/convention"},
	"gateway/card":      {"gateway/media", "mqtt/convention"},
	"gateway/discovery": {"gateway/lane", "mqtt/topic", "mqtt/convention", "internal/template"},
	"gateway/lane":      {},
	"gateway/room":      {},
	"gateway/media":     {},
	"gateway/sas":       {},
	"gateway/matrix":    {"gateway/lane", "gateway/room", "gateway/media", "gateway/sas"},

	"mqtt":            {"mqtt/topic"},
	"mqtt/broker":     {"mqtt/topic"},
	"mqtt/convention": {"mqtt/topic"},
	"mqtt/topic":      {},

	"turn":        {},
	"voip":        {},
	"voip/leg":    {"voip"},
	"voip/source": {"voip/media"},
	"voip/legacy": {"voip"},
	"voip/media":  {"voip"},
	"voip/phone":  {"voip", "voip/leg", "voip/legacy", "voip/media"},

	"store":           {"gateway/lane", "gateway/room"},
	"store/storetest": {"store", "gateway/lane", "gateway/room"},

	"internal/admin":     {},
	"internal/arch":      {},
	"internal/config":    {},
	"internal/ids":       {},
	"internal/lifecycle": {},
	"internal/logkey":    {},
	"internal/metrics":   {},
	"internal/template":  {},
}

// why is the reason to give for a forbidden edge, by the package that is imported or its folder.
var why = map[string]string{
	"store":          "storage is an interface of the one who needs it, so that another one can take its place",
	"gateway/matrix": "only this package may know mautrix; others see gateway's interfaces",
	"gateway":        "the edges do not know the heart; cmd/gatepost puts them together",
	"mqtt":           "only this package may know paho; others see gateway's interfaces",
	"mqtt/broker":    "only this package may know mochi-mqtt; others see gateway's interfaces",
	"internal":       "parts get what they need in their Config; cmd/gatepost is the one that knows all of them",
	"cmd":            "a command is imported by nobody",
}

// modules says who alone may import a third-party module ("tests": test files only).
var modules = map[string][]string{
	"go.etcd.io/bbolt":                    {"store"},
	"maunium.net/go/mautrix":              {"gateway/matrix"},
	"github.com/eclipse/paho.mqtt.golang": {"mqtt"},
	"github.com/gorilla/websocket":        {"mqtt", "mqtt/broker"},
	"github.com/mochi-mqtt/server/v2":     {"mqtt/broker"},
	"go.yaml.in/yaml/v3":                  {"internal/config"},
	"github.com/prometheus/client_golang": {"internal/metrics"},
	"github.com/spf13/cobra":              {"cmd/gatepost"},
	"github.com/coreos/go-systemd/v22":    {"cmd/gatepost"},
	"golang.org/x/image":                  {"gateway/media"},
	"golang.org/x/sys":                    {"store", "turn", "cmd/gatepost"},
	"github.com/pion/stun/v4":             {"turn", "voip/media"},
	"github.com/pion/turn/v5":             {"tests"},
	"github.com/pion/logging":             {"voip/media"}, // to silence what is beneath
	"github.com/pion/webrtc/v4":           {"voip/media", "voip/source"},
	"github.com/pion/ice/v4":              {"voip/media", "voip/source"},
	"github.com/pion/interceptor":         {"voip/media", "voip/source"},
	"github.com/pion/rtp":                 {"voip/media", "voip/source"},
	"github.com/pion/rtcp":                {"voip/media", "voip/source"},
	"github.com/bluenviron/gortsplib/v5":  {"voip/source"},
	"github.com/bluenviron/mediacommon":   {"voip/source"},
	"github.com/pion/sdp/v3":              {"voip/media"},
	"github.com/thesyncim/gopus":          {"voip/media"},
	"github.com/zaf/g711":                 {"voip/media"},
	"google.golang.org/protobuf":          {"mqtt/convention"}, // encoding/protowire only
	"golang.org/x/crypto":                 {"mqtt/broker", "gateway/matrix"},
	"go.mau.fi/util":                      {"gateway/matrix"}, // what mautrix's interfaces speak of
	"go.uber.org/goleak":                  {"tests"},
	"github.com/rogpeppe/go-internal":     {"tests"},
	"pgregory.net/rapid":                  {"tests"},
}

// endToEnd is where the programs that test the binary from outside live. They see the wire only.
const endToEnd = "test/"

func outside(dir string) bool { return strings.HasPrefix(dir+"/", endToEnd) }

func TestImportArrows(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sources(t) {
		from := s.dir()
		seen[from] = true
		for _, p := range s.imports() {
			to, ours := strings.CutPrefix(p, module+"/")
			if !ours {
				continue
			}
			if !mayImport(from, to, s.isTest()) {
				t.Errorf("%s imports %s: %s", s.path, to, reason(to))
			}
		}
	}
	for from := range seen {
		if _, ok := arrows[from]; !ok && !outside(from) {
			t.Errorf("package %s is in no arrow: say in internal/arch what it may import", from)
		}
	}
}

func mayImport(from, to string, test bool) bool {
	if outside(from) {
		return outside(to) // the binary and the wire, nothing inside
	}
	allowed := arrows[from]
	return slices.Contains(allowed, "*") || slices.Contains(allowed, to) || slices.Contains(open, to) ||
		test && (to == from || to == from+"/"+path.Base(from)+"test")
}

func reason(to string) string {
	for p := to; p != "."; p = path.Dir(p) {
		if r := why[p]; r != "" {
			return r
		}
	}
	return "this arrow is not drawn"
}

func TestOneImporterOfEachModule(t *testing.T) {
	used := map[string]bool{}
	for _, s := range sources(t) {
		for _, p := range s.imports() {
			if first, _, _ := strings.Cut(p, "/"); !strings.Contains(first, ".") || p == module || strings.HasPrefix(p, module+"/") {
				continue
			}
			mod, ok := moduleOf(p)
			if !ok {
				t.Errorf("%s imports %s: a new module needs a line in docs/adr (size added, who keeps it, what we would write instead) and one here", s.path, p)
				continue
			}
			used[mod] = true
			who := modules[mod]
			if s.isTest() || strings.HasPrefix(s.path, endToEnd) {
				continue // tests may speak to us with anybody's library
			}
			if !slices.Contains(who, s.dir()) {
				t.Errorf("%s imports %s: its only importer is %s, so that it can be replaced there", s.path, p, strings.Join(who, ", "))
			}
		}
	}
	for mod := range modules {
		if !used[mod] {
			t.Logf("module %s is imported by nobody", mod)
		}
	}
}

func moduleOf(p string) (string, bool) {
	for mod := range modules {
		if p == mod || strings.HasPrefix(p, mod+"/") {
			return mod, true
		}
	}
	return "", false
}

// TestHeartIsPure follows the arrows: what the heart drags in, tests included, must not be a library of an edge.
func TestHeartIsPure(t *testing.T) {
	imports := map[string]map[string]bool{}
	for _, s := range sources(t) {
		if s.isTest() && s.dir() != "gateway" {
			continue
		}
		for _, p := range s.imports() {
			if imports[s.dir()] == nil {
				imports[s.dir()] = map[string]bool{}
			}
			imports[s.dir()][p] = true
		}
	}
	for _, edge := range []string{
		"go.etcd.io/bbolt", "maunium.net/go/mautrix", "github.com/eclipse/paho.mqtt.golang", "github.com/mochi-mqtt/server/v2",
		"github.com/pion", "go.yaml.in/yaml/v3", "github.com/spf13/cobra",
	} {
		if trail := find(imports, "gateway", edge, map[string]bool{}); trail != nil {
			t.Errorf("gateway reaches %s by %s: it must build and be tested without any edge", edge, strings.Join(trail, " -> "))
		}
	}
}

// find looks for a way from one of our packages to a library.
func find(imports map[string]map[string]bool, from, library string, seen map[string]bool) []string {
	if seen[from] {
		return nil
	}
	seen[from] = true
	for _, p := range slices.Sorted(maps.Keys(imports[from])) {
		if p == library || strings.HasPrefix(p, library+"/") {
			return []string{from, p}
		}
		if to, ours := strings.CutPrefix(p, module+"/"); ours {
			if trail := find(imports, to, library, seen); trail != nil {
				return append([]string{from}, trail...)
			}
		}
	}
	return nil
}

// TestRulesCanFail shows the arrows to edges that they must forbid.
func TestRulesCanFail(t *testing.T) {
	for _, c := range []struct {
		from, to string
		test     bool
		want     bool
	}{
		{"gateway", "store", false, false},
		{"gateway", "store", true, false},
		{"gateway", "gateway/matrix", false, false},
		{"gateway", "gateway/lane", false, true},
		{"gateway", "internal/config", false, false},
		{"store", "gateway", false, false},
		{"store", "internal/metrics", false, true},
		{"store", "store/storetest", false, false},
		{"store", "store/storetest", true, true},
		{"mqtt/topic", "mqtt", false, false},
		{"test/demo", "gateway", false, false},
		{"test/demo", "test/harness", false, true},
		{"test", "gateway", true, false},
		{"test", "test/harness", true, true},
		{"cmd/gatepost", "store", false, true},
	} {
		if got := mayImport(c.from, c.to, c.test); got != c.want {
			t.Errorf("may %s (test: %v) import %s: got %v", c.from, c.test, c.to, got)
		}
	}
	if trail := find(map[string]map[string]bool{
		"gateway": {module + "/x": true}, "x": {"go.etcd.io/bbolt/errors": true},
	}, "gateway", "go.etcd.io/bbolt", map[string]bool{}); len(trail) != 3 {
		t.Errorf("a way was not found: %v", trail)
	}
}
