//go:build e2e || interop

package test

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Nobody outside the machine may reach what a test or the demo starts.
func TestNothingListensBeyondLoopback(t *testing.T) {
	modes(t, func(t *testing.T, mode string) {
		p := settle(t, mode, plain)
		programs := children(t)
		if len(programs) != 2 {
			t.Errorf("%d programs run, not homeserver and gatepost: %v", len(programs), programs)
		}
		for _, pid := range programs {
			at := listeners(t, pid)
			if len(at) == 0 {
				t.Errorf("process %d listens nowhere, or this test cannot see where", pid)
			}
			for _, a := range at {
				if !a.Addr().IsLoopback() {
					t.Errorf("process %d listens at %s", pid, a)
				}
			}
		}
		own := listeners(t, p.gate.PID())
		for _, want := range []string{p.set.MQTT, p.set.Admin} {
			found := false
			for _, a := range own {
				found = found || a.String() == want
			}
			if !found {
				t.Errorf("gatepost listens at %v, and not at %s", own, want)
			}
		}
	})
}

// children are the processes that this one started and that still run.
func children(t *testing.T) []int {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var out []int
	for _, name := range stats {
		b, err := os.ReadFile(name)
		if err != nil {
			continue // ended meanwhile
		}
		pid, rest, _ := strings.Cut(string(b), " ")
		fields := strings.Fields(rest[strings.LastIndexByte(rest, ')')+1:]) // state, parent, ...
		if fields[1] != strconv.Itoa(os.Getpid()) || fields[0] == "Z" {
			continue
		}
		n, err := strconv.Atoi(pid)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, n)
	}
	return out
}

// listeners are the TCP sockets that a process listens on and the UDP sockets that it receives on from anybody.
func listeners(t *testing.T, pid int) []netip.AddrPort {
	t.Helper()
	links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	ours := map[string]bool{} // inodes
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, "socket:[") {
			ours[strings.Trim(to, "socket:[]")] = true
		}
	}
	var out []netip.AddrPort
	for table, state := range map[string]string{"tcp": "0A", "tcp6": "0A", "udp": "07", "udp6": "07"} {
		f, err := os.Open(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			continue // no such protocol here
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			// sl local_address rem_address st queues tr retrnsmt uid timeout inode, see proc(5)
			c := strings.Fields(lines.Text())
			if len(c) > 9 && c[3] == state && ours[c[9]] {
				out = append(out, kernelAddress(t, c[1]))
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		_ = f.Close() // was only read
	}
	return out
}

// kernelAddress reads an address of /proc/net: words of four bytes in the machine's order, in hex, a colon, the port.
func kernelAddress(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	host, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+4 <= len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	n, err := strconv.ParseUint(port, 16, 16)
	if !ok || err != nil {
		t.Fatalf("%q is no address", s)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n))
}
