package relay

import "syscall"

// childAttributes puts a child into a process group of its own, so that Ctrl-C reaches us alone and we stop the children
// in order, and lets the kernel kill it should we be killed.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
