//go:build interop

package clients

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gatepost/gatepost/test/harness"
)

// suites are the cases of each client: the program and what it is given before URL and level.
func suites(t *testing.T) map[string][]string {
	t.Helper()
	abs := func(path string) string {
		path, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	return map[string][]string{
		"paho-mqtt": {abs(filepath.Join(bin, "paho-venv/bin/python")), "paho_cases.py"},
		"MQTT.js":   {"node", "mqttjs_cases.mjs", abs(filepath.Join(bin, "mqttjs"))},
	}
}

var levels = map[string]string{"4": "3.1.1", "5": "5"}

// Every case of both clients, over every transport, in both versions.
func TestBrokerForOtherClients(t *testing.T) {
	b := gatepost(t, true)
	var ran, failed atomic.Int64
	t.Run("clients", func(t *testing.T) {
		for _, u := range b.urls() {
			for level, version := range levels {
				for client, command := range suites(t) {
					t.Run(client+" "+scheme(u)+" MQTT "+version, func(t *testing.T) {
						t.Parallel() // they wait most of the time
						for name, why := range b.cases(t, command, u, level) {
							ran.Add(1)
							if why != "" {
								failed.Add(1)
								t.Errorf("%s: %s", name, why)
							}
						}
					})
				}
			}
		}
	})
	harness.Note(t, "broker with other people's clients: cases", ran.Load(), "cases")
	harness.Figure(t, "broker with other people's clients: cases that failed", failed.Load(), "cases", "0", failed.Load() == 0 && ran.Load() > 300)
}

// deviations are the cases in which mosquitto 2.0 does otherwise than the standard says, and gatepost must not.
var deviations = []string{
	"permissions",         // it accepts a subscription and delivers nothing
	"overlapping",         // MQTT 3.1.1: it takes the QoS of the last subscription
	"takeover",            // MQTT 5: it says nothing to the old connection
	"will_at_session_end", // it forgets a delayed will with its session
	"shared_retained",     // it sends retained messages to shared subscriptions
}

// The cases can be met: mosquitto meets them, but for its deviations.
func TestMosquittoMeetsTheCases(t *testing.T) {
	b := mosquitto(t, false)
	for level, version := range levels {
		for client, command := range suites(t) {
			t.Run(client+" MQTT "+version, func(t *testing.T) {
				for name, why := range b.cases(t, command, b.urls()[0], level) {
					if why != "" && !slices.Contains(deviations, name) {
						t.Errorf("%s: %s", name, why)
					}
				}
			})
		}
	}
}

func scheme(u string) string { s, _, _ := strings.Cut(u, ":"); return s }

// cases runs a suite and gives each case with what went wrong, "" for nothing.
func (b *broker) cases(t *testing.T, command []string, where, level string) map[string]string {
	t.Helper()
	args := append(append([]string(nil), command[1:]...), where, level)
	cmd := exec.CommandContext(b.ctx, command[0], args...)
	cmd.Env = append(os.Environ(), "CA_FILE="+b.ca, "PASSWORD="+password, "LIMITED_PASSWORD="+limitedPassword)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", command, err, errs.String())
	}
	list := map[string]string{}
	for line := range strings.Lines(out.String()) {
		line = strings.TrimSpace(line)
		if name, found := strings.CutPrefix(line, "ok "); found {
			list[name] = ""
		} else if rest, found := strings.CutPrefix(line, "fail "); found {
			name, why, _ := strings.Cut(rest, ": ")
			list[name] = why
		} else {
			t.Errorf("it says %q", line)
		}
	}
	if len(list) < 9 {
		t.Errorf("only %d cases ran: %s%s", len(list), out.String(), errs.String())
	}
	return list
}

// optional are cases of Eclipse Paho's suite about what a broker need not do.
var optional = []string{
	"test_server_topic_alias", // a server may use aliases, it need not (MQTT 5, 3.3.2.3.4)
	"test_subscribe_failure",  // assumes a topic that nobody may subscribe to; paho_cases.py has this with accounts
}

// Eclipse Paho's interoperability cases for MQTT 5 brokers, as they come with paho-mqtt's sources.
func TestPahoInteroperabilitySuite(t *testing.T) {
	passed, failed := gatepost(t, false).suite(optional)
	harness.Figure(t, "Eclipse Paho's interoperability cases for MQTT 5: passed", passed, "cases", "all of them", failed == 0 && passed >= 19)
}

func TestMosquittoMeetsPahosSuite(t *testing.T) {
	// It delivers a message once for each subscription, which is allowed; the case about identifiers assumes otherwise.
	if passed, failed := mosquitto(t, true).suite(append([]string{"test_subscription_identifiers"}, optional...)); passed < 18 || failed > 0 {
		t.Errorf("%d cases passed, %d failed", passed, failed)
	}
}

// suite runs Paho's cases but those to leave out.
func (b *broker) suite(leaveOut []string) (passed, failed int) {
	b.t.Helper()
	python, err := filepath.Abs(filepath.Join(bin, "paho-venv/bin/python"))
	b.ok(err)
	suite, err := filepath.Abs(filepath.Join(bin, "paho-venv/suite/tests"))
	b.ok(err)
	out, err := exec.CommandContext(b.ctx, python, append([]string{"paho_suite.py", suite, strconv.Itoa(b.ports[0])}, leaveOut...)...).CombinedOutput()
	if err != nil {
		b.t.Fatalf("%v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.SplitN(strings.TrimSpace(line), " ", 3)
		switch f[0] {
		case "ok":
			passed++
		case "fail":
			failed++
			b.t.Errorf("%s", strings.Join(f[1:], " "))
		}
	}
	return passed, failed
}
