//go:build interop

package convention

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// peers is where `make interop` installs other people's encoders (testdata/peers).
const peers = "../../bin/peers"

// figure prints one figure in the form of docs/bench; one that misses fails the test.
func figure(t *testing.T, name string, value float64, unit, must string, ok bool) {
	t.Helper()
	verdict := "ok"
	if !ok {
		verdict = "miss"
		t.Errorf("%s: %.2f %s, must be %s", name, value, unit, must)
	}
	fmt.Fprintf(os.Stdout, "figure\t%s\t%.2f\t%s\t%s\t%s\n", name, value, unit, must, verdict)
}

// node runs a script of testdata/peers with lines as its input, and gives the lines it prints.
func node(t *testing.T, script string, lines ...string) [][]byte {
	t.Helper()
	if _, err := os.Stat(peers + "/node_modules"); err != nil {
		t.Fatalf("the encoders of others are not installed; make interop does it: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), "node", script)
	cmd.Dir = peers
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	return bytes.Split(bytes.TrimSpace(out), []byte("\n"))
}

// TestPeerZigbeeModels decodes every model of zigbee-herdsman-converters, under all promises of the suite.
func TestPeerZigbeeModels(t *testing.T) {
	models, decoded, useful, refusing := 0, 0, 0, 0
	for _, line := range node(t, "exposes.js") {
		models++
		ok := t.Run(fmt.Sprint(models), func(t *testing.T) {
			p := modelPart(t, line)
			if len(p.Readings)+len(p.Commands)+len(p.Triggers) > 0 {
				useful++
			}
			if len(p.Refused) > 0 {
				refusing++
			}
		})
		if ok {
			decoded++
		}
	}
	share := func(n int) float64 { return 100 * float64(n) / float64(max(models, 1)) }
	figure(t, "models of zigbee-herdsman-converters", float64(models), "models", ">= 4000", models >= 4000)
	figure(t, "models decoded", share(decoded), "%", "100", decoded == models)
	figure(t, "models with a reading or command", share(useful), "%", ">= 99", share(useful) >= 99)
	figure(t, "models of which some part is refused by name", share(refusing), "%", "-", true)
}

// peerMetric is a metric as sparkplug-payload reads and writes it.
type peerMetric struct {
	Name  string `json:"name"`
	Alias uint64 `json:"alias,omitempty"`
	Type  string `json:"type"`
	Value any    `json:"value"`
}

// TestPeerSparkplug: payloads that another encoder made are read as it meant them, and it reads the orders that we make.
func TestPeerSparkplug(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	kinds := []struct {
		name string
		code uint32
		make func() (any, string)
	}{
		{"Int8", spInt8, func() (any, string) { n := int8(random.Uint32()); return n, fmt.Sprint(n) }},
		{"Int16", spInt16, func() (any, string) { n := int16(random.Uint32()); return n, fmt.Sprint(n) }},
		{"Int32", spInt32, func() (any, string) { n := int32(random.Uint32()); return n, fmt.Sprint(n) }},
		{"Int64", spInt64, func() (any, string) { n := random.Int64N(1<<52) - 1<<51; return n, fmt.Sprint(n) }},
		{"UInt8", spUInt8, func() (any, string) { n := uint8(random.Uint32()); return n, fmt.Sprint(n) }},
		{"UInt16", spUInt16, func() (any, string) { n := uint16(random.Uint32()); return n, fmt.Sprint(n) }},
		{"UInt32", spUInt32, func() (any, string) { n := random.Uint32(); return n, fmt.Sprint(n) }},
		{"UInt64", spUInt64, func() (any, string) { n := random.Int64N(1 << 52); return n, fmt.Sprint(n) }},
		{"Float", spFloat, func() (any, string) {
			f := float32(math.Round(float64(random.Float32()-0.5)*1e6) / 64)
			return f, spValue{kind: 'f', bits: math.Float64bits(float64(f)), single: true}.number(0)
		}},
		{"Double", spDouble, func() (any, string) {
			f := (random.Float64() - 0.5) * 1e9
			return f, spValue{kind: 'f', bits: math.Float64bits(f)}.number(0)
		}},
		{"Boolean", spBoolean, func() (any, string) { b := random.IntN(2) == 1; return b, fmt.Sprint(b) }},
		{"String", spString, func() (any, string) { s := strings.Repeat("é x", random.IntN(9)); return s, s }},
		{"Text", spText, func() (any, string) { return "text", "text" }},
		{"UUID", spUUID, func() (any, string) {
			return "3ac7e3c4-4401-4b8d-9386-a5c902f9202d", "3ac7e3c4-4401-4b8d-9386-a5c902f9202d"
		}},
	}
	const payloads = 300
	var questions []string
	var want [][]string
	for range payloads {
		var metrics []peerMetric
		var texts []string
		for i := range 1 + random.IntN(12) {
			k := kinds[random.IntN(len(kinds))]
			v, text := k.make()
			metrics = append(metrics, peerMetric{Name: fmt.Sprintf("m%d", i), Alias: uint64(i + 1), Type: k.name, Value: v})
			texts = append(texts, text)
		}
		q, err := json.Marshal(map[string]any{"encode": map[string]any{"timestamp": 1767225600000, "seq": random.IntN(256), "metrics": metrics}})
		if err != nil {
			t.Fatal(err)
		}
		questions, want = append(questions, string(q)), append(want, texts)
	}
	// orders: each kind, several values
	var orders []string
	for range payloads {
		k := kinds[random.IntN(len(kinds))]
		v, _ := k.make()
		value, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		b, err := sparkplug{}.Encode([]byte(fmt.Sprintf(`{"name":"A/b","type":%d,"value":%s}`, k.code, value)), time.UnixMilli(1767225600000))
		if err != nil {
			t.Fatalf("%s %s: %v", k.name, value, err)
		}
		questions = append(questions, `{"decode":"`+base64.StdEncoding.EncodeToString(b)+`"}`)
		orders = append(orders, k.name+" "+string(value))
	}
	answers := node(t, "sparkplug.js", questions...)
	if len(answers) != len(questions) {
		t.Fatalf("%d answers to %d questions", len(answers), len(questions))
	}
	read, written := 0, 0
	for i, texts := range want {
		b, err := base64.StdEncoding.DecodeString(string(answers[i]))
		if err != nil {
			t.Fatal(err)
		}
		p, err := decodeSparkplug(b, spMetricsMax)
		good := err == nil && len(p.metrics) == len(texts)
		for j := 0; good && j < len(texts); j++ {
			text, ok := p.metrics[j].text(p.metrics[j].datatype)
			if good = ok && text == clean(texts[j], MaxName); !good {
				t.Logf("%s: %q, want %q", questions[i], text, texts[j])
			}
		}
		if good {
			read++
		}
	}
	for i, order := range orders {
		var p struct{ Metrics []peerMetric }
		if err := json.Unmarshal(answers[payloads+i], &p); err != nil || len(p.Metrics) != 1 {
			t.Errorf("%s: %s", order, answers[payloads+i])
			continue
		}
		got, err := json.Marshal(p.Metrics[0].Value)
		if err != nil {
			t.Fatal(err)
		}
		if sameValue(p.Metrics[0].Type+" "+string(got), order) {
			written++
		} else {
			t.Logf("sent %s, read %s %s", order, p.Metrics[0].Type, got)
		}
	}
	figure(t, "Sparkplug payloads of sparkplug-payload read as meant", 100*float64(read)/payloads, "%", "100", read == payloads)
	figure(t, "Sparkplug orders read by sparkplug-payload as meant", 100*float64(written)/payloads, "%", "100", written == payloads)
}

// sameValue compares a type and a value; numbers as numbers, floats to single precision.
func sameValue(a, b string) bool {
	typeA, valueA, _ := strings.Cut(a, " ")
	typeB, valueB, _ := strings.Cut(b, " ")
	if !strings.EqualFold(typeA, typeB) {
		return false
	}
	x, okX := number(json.Number(valueA))
	y, okY := number(json.Number(valueB))
	if okX && okY {
		return float32(x) == float32(y)
	}
	return valueA == valueB
}

// TestPeerHomie: devices that other people's libraries announce have the readings and commands that they were made with.
func TestPeerHomie(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "venv/bin/python", "homie.py")
	cmd.Dir = peers
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("homie.py: %v; make interop installs what it needs", err)
	}
	kinds := map[string]ReadingKind{
		"integer": Number, "float": Number, "boolean": OnOff, "string": Text, "enum": Option, "color": Text, "datetime": Time, "duration": Text, "json": Text,
	}
	for _, peer := range []struct {
		convention, device, library string
		types                       []string
	}{
		{"homie4", "peer4", "homie-spec", []string{"integer", "float", "boolean", "string", "enum", "color"}},
		{"homie5", "peer5", "ebus-sdk", []string{"integer", "float", "boolean", "string", "enum", "color", "datetime", "duration", "json"}},
	} {
		p := newPlayer(t, made(t, peer.convention, ""))
		if err := ReadCapture(bytes.NewReader(out), func(m topic.Message) error { p.play(m); return nil }); err != nil {
			t.Fatal(err)
		}
		part := p.parts[peer.device]
		good := 0
		for _, name := range peer.types {
			want := Reading{Name: name, Kind: kinds[name]}
			switch name {
			case "float":
				want.Unit = "°C"
			case "enum":
				want.Options = []string{"low", "mid", "high"}
			case "boolean":
				want.On, want.Off = "true", "false"
			}
			for _, settable := range []bool{false, true} {
				if settable {
					want.Name += "_set"
				}
				if announced(part, want, settable) {
					good++
				} else {
					t.Errorf("%s: no %s as it was made:\n%s", peer.library, want.Name, dump(part))
				}
			}
		}
		all := 2 * len(peer.types)
		figure(t, "Homie properties of "+peer.library+" read as meant", 100*float64(good)/float64(all), "%", "100", good == all && len(part.Refused) == 0)
	}
}

// announced tells whether p has a reading like r, and a command for it exactly if it is settable.
func announced(p Part, r Reading, settable bool) bool {
	command := slices.ContainsFunc(p.Commands, func(c Command) bool {
		return c.Name == "set_"+r.Name && c.Confirm.Reading == r.Name && c.Args[0].Kind == r.Kind
	})
	return command == settable && slices.ContainsFunc(p.Readings, func(have Reading) bool {
		return have.Name == r.Name && have.Kind == r.Kind && have.Unit == r.Unit && have.On == r.On && have.Off == r.Off && slices.Equal(have.Options, r.Options)
	})
}

// TestPeerSample: the committed sample is what the script prints.
func TestPeerSample(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "node", "exposes.js", "50")
	cmd.Dir = peers
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(modelsFile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	have := map[string]bool{}
	for lines.Scan() {
		have[lines.Text()] = true
	}
	for line := range strings.Lines(string(out)) {
		if !have[strings.TrimSuffix(line, "\n")] {
			t.Errorf("not in %s: %.120s", modelsFile, line)
		}
	}
}
