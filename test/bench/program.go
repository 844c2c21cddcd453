package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// program is a baseline, or an outside broker: something that runs while a round lasts.
type program struct {
	cmd  *exec.Cmd
	line string // the first line that it wrote
	rest chan string
}

// start runs a program in a folder. Its first line of output says that it is ready.
func start(dir, path string, args ...string) (*program, error) {
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &program{cmd: cmd, rest: make(chan string, 1)}
	r := bufio.NewReader(out)
	if p.line, err = r.ReadString('\n'); err != nil {
		return nil, errors.Join(fmt.Errorf("%s %v said nothing", path, args), cmd.Wait())
	}
	p.line = strings.TrimSpace(p.line)
	go func() {
		b, _ := io.ReadAll(r) // ends with the program
		p.rest <- strings.TrimSpace(string(b))
	}()
	return p, nil
}

// stop asks it to end and returns what it wrote after its first line.
func (p *program) stop() (string, error) {
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return "", err
	}
	kill := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	rest := <-p.rest
	return rest, p.cmd.Wait()
}
