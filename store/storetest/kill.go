package storetest

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"testing"
	"time"
)

// childEnv tells a test binary that it is the child of Kill: the folder to write in.
const childEnv = "GATEPOST_STORETEST_FOLDER"

// Kill runs the test that calls it again and again as a child process and kills that with SIGKILL at random moments, up to
// about 50 ms after its first acknowledgement. In the child it calls write with a folder, the same in each round, and with
// ack, which write calls with each thing once that is durable; write ends only by being killed. After each round it calls
// check with everything acknowledged in that round. t must not be parallel.
func Kill(t *testing.T, rounds int, write func(folder string, ack func(string)), check func(folder string, acked []string)) {
	t.Helper()
	if folder := os.Getenv(childEnv); folder != "" {
		write(folder, func(what string) { _, _ = io.WriteString(os.Stdout, "acked "+what+"\n") })
		t.Fatal("the child ended by itself")
	}
	folder := t.TempDir()
	for range rounds {
		check(folder, killOnce(t, folder))
	}
}

// killOnce starts a child, kills it, and gives what it acknowledged.
func killOnce(t *testing.T, folder string) (acked []string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), childEnv+"="+folder)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var kill *time.Timer
	other := ""
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var what string
		if _, err := fmt.Sscanf(lines.Text(), "acked %s", &what); err != nil {
			other += lines.Text() + "\n"
			continue
		}
		acked = append(acked, what)
		if kill == nil {
			kill = time.AfterFunc(rand.N(50*time.Millisecond), func() { _ = cmd.Process.Kill() })
		}
	}
	if err := cmd.Wait(); kill == nil || err == nil {
		t.Fatalf("the child ended by itself: %v: %s", err, other)
	}
	kill.Stop()
	return acked
}
