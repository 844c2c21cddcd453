package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Process is a program that can be started, stopped and started again; its output goes to one Log. Methods may be called
// from several goroutines, but only one may start or stop it at a time.
type Process struct {
	name string
	path string
	args []string
	dir  string
	env  []string // added to ours
	log  *Log

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended and its output has been read
	code int           // of the last run that ended; -1 when a signal ended it
}

// newProcess prepares a program whose output is appended to dir/name.log.
func newProcess(name, path, dir string, env []string, args ...string) (*Process, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("%s is not there (make build and make test build what is needed): %w", name, err)
	}
	log, err := newLog(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	return &Process{name: name, path: path, args: args, dir: dir, env: env, log: log}, nil
}

// start runs the program; it does not wait until it is of use.
func (p *Process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return fmt.Errorf("%s runs already", p.name)
	}
	cmd := exec.Command(p.path, p.args...)
	cmd.Dir, cmd.Env = p.dir, append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.SysProcAttr = childAttributes()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		_ = cmd.Wait() // what it ended with is in ProcessState
		p.mu.Lock()
		p.cmd, p.code = nil, cmd.ProcessState.ExitCode()
		p.mu.Unlock()
		close(done)
	}()
	return nil
}

// Log is what the program wrote, over all its runs.
func (p *Process) Log() *Log { return p.log }

// Running says whether it runs now.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd != nil
}

// PID of the running program, 0 when it does not run.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

// Signal sends sig to the running program.
func (p *Process) Signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return fmt.Errorf("%s does not run", p.name)
	}
	return p.cmd.Process.Signal(sig)
}

// Wait returns the exit code once the program has ended (-1: by a signal); at once when it does not run.
func (p *Process) Wait(ctx context.Context) (int, error) {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	if done != nil {
		select {
		case <-done:
		case <-ctx.Done():
			return 0, fmt.Errorf("%s still runs: %w", p.name, ctx.Err())
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.code, nil
}

// errSlow is what Stop returns when the program had to be killed.
var errSlow = errors.New("did not stop in time and was killed")

// Stop asks the program to end and waits up to grace, then kills it. The code is as Wait's.
func (p *Process) Stop(grace time.Duration) (int, error) {
	if p.Running() {
		_ = p.Signal(syscall.SIGTERM) // it may have ended meanwhile
	}
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	code, err := p.Wait(ctx)
	if err != nil {
		p.Kill()
		return -1, fmt.Errorf("%s: %w", p.name, errSlow)
	}
	return code, nil
}

// Kill ends the program at once (SIGKILL) and returns when it is gone.
func (p *Process) Kill() {
	_ = p.Signal(syscall.SIGKILL) // it may have ended meanwhile
	_, _ = p.Wait(context.Background())
}

// awaitLine waits until the running program has written a line with text in it since the n-th line.
func (p *Process) awaitLine(ctx context.Context, n int, text string) error {
	p.mu.Lock()
	done := p.done
	p.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-done:
			cancel(fmt.Errorf("%s ended instead", p.name))
		case <-ctx.Done():
		}
	}()
	_, err := p.log.Await(ctx, n, text)
	return p.explain(err)
}

// explain adds the end of the log to an error.
func (p *Process) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w; the end of %s:\n%s", p.name, err, p.log.Path(), p.log.Tail(20))
}
