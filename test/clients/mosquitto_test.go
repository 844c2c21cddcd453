//go:build interop

package clients

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tool is mosquitto_pub, mosquitto_sub and mosquitto_rr at one broker, over one transport, in one version.
type tool struct {
	*broker
	t    *testing.T
	args []string // before all others
}

// mosquitto_pub and mosquitto_sub, which speak MQTT 3.1 as well, over TCP and TLS.
func TestBrokerForMosquittosClients(t *testing.T) {
	b := gatepost(t, true)
	for i, transport := range []string{"mqtt", "mqtts"} {
		for _, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
			args := []string{"-h", "127.0.0.1", "-p", fmt.Sprint(b.ports[i]), "-V", version, "-u", user, "-P", password}
			if transport == "mqtts" {
				args = append(args, "--cafile", b.ca)
			}
			prefix := transport + version
			c := &tool{b, nil, args}
			cases := map[string]func(*tool, string){
				"a session and every QoS": (*tool).session, "retained": (*tool).retained, "will": (*tool).will,
				"large": (*tool).large, "login": (*tool).login,
			}
			if c.five() {
				cases["request and response"] = (*tool).request
			}
			for name, run := range cases {
				t.Run(transport+" "+version+" "+name, func(t *testing.T) {
					run(&tool{c.broker, t, c.args}, prefix+strings.ReplaceAll(name, " ", "-"))
				})
			}
		}
	}
}

func (c *tool) five() bool { return slices.Contains(c.args, "mqttv5") }

// run runs one of the programs to its end and returns its output; code is what it must end with.
func (c *tool) run(code int, program string, args ...string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.ctx, program, append(append([]string(nil), c.args...), args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		c.t.Fatal(err)
	}
	if got := cmd.ProcessState.ExitCode(); got != code {
		c.t.Fatalf("%s %q ends with %d, not %d: %s", program, args, got, code, out.String())
	}
	return out.String()
}

func (c *tool) same(got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("%q, not %q", got, want)
	}
}

// kept are the arguments of a session that stays.
func (c *tool) kept(id string) []string {
	args := []string{"-c", "-i", id}
	if c.five() {
		args = append(args, "-x", "300") // session expiry interval
	}
	return args
}

// session has messages of every QoS wait for a session. Those with QoS 0 need not wait.
func (c *tool) session(topic string) {
	sub := append(c.kept(topic), "-q", "2", "-t", topic+"/+")
	c.run(0, "mosquitto_sub", append(sub, "-E")...)
	want := ""
	for i := range 6 {
		qos := 1 + i%2
		c.run(0, "mosquitto_pub", "-q", fmt.Sprint(qos), "-t", fmt.Sprintf("%s/%d", topic, qos), "-m", fmt.Sprint(i))
		want += fmt.Sprintf("%s/%d %d 0 %d\n", topic, qos, qos, i)
	}
	got := c.run(0, "mosquitto_sub", append(sub, "-C", "6", "-W", "10", "-F", "%t %q %r %p")...)
	c.same(strings.Join(sorted(got), "\n"), strings.Join(sorted(want), "\n"))
	c.run(27, "mosquitto_sub", append(sub, "-C", "1", "-W", "1")...) // nothing is left: it times out
}

func sorted(text string) []string {
	var one, two []string // by QoS: within each the order counts
	for line := range strings.Lines(text) {
		if strings.Contains(line, "/1 ") {
			one = append(one, line)
		} else {
			two = append(two, line)
		}
	}
	return append(one, two...)
}

func (c *tool) retained(topic string) {
	c.run(0, "mosquitto_pub", "-q", "1", "-r", "-t", topic, "-m", "old")
	c.run(0, "mosquitto_pub", "-q", "1", "-r", "-t", topic, "-m", "new")
	c.same(c.run(0, "mosquitto_sub", "-q", "1", "-t", topic, "-C", "1", "-W", "10", "-F", "%r %p"), "1 new\n")
	c.run(0, "mosquitto_pub", "-q", "1", "-r", "-t", topic, "-n")
	c.run(27, "mosquitto_sub", "-q", "1", "-t", topic, "-C", "1", "-W", "1")
}

// will kills a mosquitto_sub that is connected.
func (c *tool) will(topic string) {
	watch := append(c.kept(topic+"-watch"), "-q", "1", "-t", topic+"/will")
	c.run(0, "mosquitto_sub", append(watch, "-E")...)
	c.run(0, "mosquitto_pub", "-q", "1", "-r", "-t", topic+"/there", "-m", "you are connected")
	cmd := exec.CommandContext(c.ctx, "mosquitto_sub", append(append([]string(nil), c.args...),
		"-t", topic+"/there", "-q", "1", "--will-topic", topic+"/will", "--will-payload", "gone", "--will-qos", "1")...)
	out, err := cmd.StdoutPipe()
	c.ok(err)
	c.ok(cmd.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	c.ok(err)
	c.same(line, "you are connected\n")
	c.ok(cmd.Process.Kill())
	_ = cmd.Wait() // killed is what it is to be
	c.same(c.run(0, "mosquitto_sub", append(watch, "-C", "1", "-W", "10")...), "gone\n")
}

func (c *tool) large(topic string) {
	file := filepath.Join(c.t.TempDir(), "large")
	payload := bytes.Repeat([]byte("0123456789abcdef"), 3<<16) // 3 MiB
	c.ok(os.WriteFile(file, payload, 0o600))
	c.run(0, "mosquitto_pub", "-q", "1", "-r", "-t", topic, "-f", file)
	got := c.run(0, "mosquitto_sub", "-q", "1", "-t", topic, "-C", "1", "-W", "20", "-N")
	c.same(fmt.Sprint(len(got), got == string(payload)), fmt.Sprint(len(payload), true))
	c.run(0, "mosquitto_pub", "-q", "1", "-r", "-t", topic, "-n")
}

func (c *tool) login(topic string) {
	bad := &tool{c.broker, c.t, nil}
	for _, a := range c.args {
		if a == password {
			a = "wrong"
		}
		bad.args = append(bad.args, a)
	}
	code := 5 // CONNACK: not authorized
	if c.five() {
		code = 0x86
	}
	cmd := exec.CommandContext(c.ctx, "mosquitto_pub", append(bad.args, "-q", "1", "-t", topic, "-m", "x")...)
	out, err := cmd.CombinedOutput()
	if got := cmd.ProcessState.ExitCode(); err == nil || got != code && got != 4 && got != 0x87 {
		c.t.Errorf("with a wrong password it ends with %d: %s", got, out)
	}
}

// request is mosquitto_rr, which speaks MQTT 5 only.
func (c *tool) request(topic string) {
	sub := append(c.kept(topic+"-server"), "-q", "1", "-t", topic+"/ask")
	c.run(0, "mosquitto_sub", append(sub, "-E")...)
	ask := exec.CommandContext(c.ctx, "mosquitto_rr", append(append([]string(nil), c.args...), "-q", "1", "-t", topic+"/ask", "-e", topic+"/answer", "-m", "2+2", "-W", "20")...)
	var answer bytes.Buffer
	ask.Stdout, ask.Stderr = &answer, &answer
	c.ok(ask.Start())
	asked := c.run(0, "mosquitto_sub", append(sub, "-C", "1", "-W", "10", "-F", "%R %p")...)
	c.same(asked, topic+"/answer 2+2\n")
	c.run(0, "mosquitto_pub", "-q", "1", "-t", topic+"/answer", "-m", "4")
	c.ok(ask.Wait())
	c.same(answer.String(), "4\n")
}
