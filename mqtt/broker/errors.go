package broker

import "errors"

// ErrNotRunning is returned by Publish before Run and after its end; nothing was sent. Try again later.
var ErrNotRunning = errors.New("broker: not running")

// ErrOpen is returned by New and SetAccounts: a listener beyond loopback would let everybody in. Add accounts, listen on
// 127.0.0.1 only, or set Config.Anonymous.
var ErrOpen = errors.New("listens beyond loopback without accounts: add mqtt.accounts, listen on 127.0.0.1, or set mqtt.anonymous: true")

// ErrNoClientCA is returned by New and SetAccounts: an account has a certificate, and nothing says who may sign it.
var ErrNoClientCA = errors.New("a certificate needs mqtt.client_ca_file, the certificates that sign those of clients")

// notSent is an error of Publish after which certainly nothing went out.
type notSent struct{ err error }

func (e notSent) Error() string { return e.err.Error() }
func (e notSent) Unwrap() error { return e.err }
func (notSent) NotSent() bool   { return true }

// Why a connection ended; only logged.
var (
	errNotConnect   = errors.New("the first packet is not a CONNECT")
	errLargeConnect = errors.New("the CONNECT packet is too large")
	errRefused      = errors.New("refused")
)
