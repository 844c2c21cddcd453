package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/gorilla/websocket"
)

var (
	// ErrNotConnected is given by Publish while there is no connection. Nothing was sent; a later try may succeed.
	ErrNotConnected = errors.New("mqtt: not connected to the broker")
	// ErrTooLarge is given by Publish for a payload above Config.MaxPayload. Nothing was sent, and never will be.
	ErrTooLarge = errors.New("mqtt: payload too large")
	// ErrQoS is given by Publish for a quality of service other than 0 and 1. Nothing was sent.
	ErrQoS = errors.New("mqtt: QoS must be 0 or 1")
	// ErrUnanswered is given by Publish when the connection ended before the broker's answer, or before all was written.
	// Nobody can tell whether the message arrived.
	ErrUnanswered = errors.New("mqtt: the connection ended before it was known whether the message arrived")
	// ErrRefused is in State.Err when the broker lets us in but refuses filters. They are asked for again on the next
	// connection.
	ErrRefused = errors.New("mqtt: the broker refuses subscriptions")
	// ErrCredentials is in State.Err when the broker does not accept user, password or client certificate. The client goes
	// on trying, slowly.
	ErrCredentials = errors.New("mqtt: the broker does not accept our credentials")
	// ErrRunning is given by Run when it was called before.
	ErrRunning = errors.New("mqtt: Run was called twice")
)

// notSent wraps an error of Publish after which certainly nothing went out.
type notSent struct{ error }

func (notSent) NotSent() bool   { return true }
func (e notSent) Unwrap() error { return e.error }

// remoteAlert is how crypto/tls begins what the other side says; it has no type for it.
const remoteAlert = "remote error: tls"

// explain says for people why there is no connection to host, and marks what is a matter of credentials.
func explain(err error, host string) (string, error) {
	var (
		dns       *net.DNSError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
	)
	credentials := func(s string) (string, error) { return s, fmt.Errorf("%w: %w", ErrCredentials, err) }
	switch {
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword):
		return credentials("the broker refused user or password")
	case errors.Is(err, packets.ErrorRefusedNotAuthorised):
		return credentials("the broker does not let us in: user, password or client id are not authorized")
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return "the broker refused the client id", err
	case errors.Is(err, packets.ErrorRefusedServerUnavailable):
		return "the broker says that it is not available", err
	case errors.Is(err, packets.ErrorRefusedBadProtocolVersion):
		return "the broker does not speak MQTT 3.1.1", err
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return fmt.Sprintf("there is no host %q", dns.Name), err
		}
		return fmt.Sprintf("the address of %q could not be found: %s", dns.Name, dns.Err), err
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("nobody listens at %s (connection refused)", host), err
	case errors.As(err, &authority):
		return "the broker's certificate is from an authority that we do not trust (ca_file says whom to trust)", err
	case errors.As(err, &name):
		return "the broker's certificate is for another name: " + name.Error(), err
	case errors.As(err, &invalid):
		return "the broker's certificate is not valid: " + invalid.Error(), err
	case errors.As(err, &record):
		return fmt.Sprintf("%s does not speak TLS", host), err
	case strings.Contains(err.Error(), remoteAlert):
		reason := "the broker ended TLS: " + root(err).Error()
		if strings.Contains(reason, "certificate") {
			return credentials(reason + " (cert_file and key_file say who we are)")
		}
		return reason, err
	case errors.Is(err, websocket.ErrBadHandshake):
		return fmt.Sprintf("no WebSocket at %s: %v", host, err), err
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return fmt.Sprintf("%s did not answer in time", host), err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		websocket.IsUnexpectedCloseError(err):
		return "the broker closed the connection", err
	}
	return root(err).Error(), err
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

// root takes off paho's wrapping, which only says "network Error".
func root(err error) error {
	if all, ok := err.(interface{ Unwrap() []error }); ok { // only the outermost is paho's
		if errs := all.Unwrap(); len(errs) == 2 && errors.Is(errs[0], packets.ErrorNetworkError) {
			return errs[1]
		}
	}
	return err
}
