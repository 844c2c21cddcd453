package mqtt

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/eclipse/paho.mqtt.golang/packets"
	"github.com/gorilla/websocket"
)

func TestExplain(t *testing.T) {
	network := func(err error) error { return fmt.Errorf("%w : %w", packets.ErrorNetworkError, err) }
	for _, tt := range []struct {
		err         error
		want        string
		credentials bool
	}{
		{packets.ErrorRefusedBadUsernameOrPassword, "refused user or password", true},
		{packets.ErrorRefusedNotAuthorised, "not authorized", true},
		{network(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}), "nobody listens at h:1", false},
		{&net.DNSError{Name: "broker.local", IsNotFound: true}, `no host "broker.local"`, false},
		{&net.DNSError{Name: "broker.local", Err: "server misbehaving"}, "server misbehaving", false},
		{network(&tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}), "ca_file", false},
		{x509.HostnameError{Certificate: &x509.Certificate{DNSNames: []string{"other"}}, Host: "h"}, "another name", false},
		{x509.CertificateInvalidError{Cert: &x509.Certificate{}, Reason: x509.Expired}, "expired", false},
		{tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, "does not speak TLS", false},
		{network(errors.New("remote error: tls: certificate required")), "certificate required", true},
		{network(errors.New("remote error: tls: protocol version not supported")), "protocol version", false},
		{fmt.Errorf("%w: HTTP 404 Not Found", websocket.ErrBadHandshake), "404", false},
		{network(context.DeadlineExceeded), "did not answer in time", false},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, "did not answer in time", false},
		{network(io.EOF), "closed the connection", false},
		{os.NewSyscallError("read", syscall.ECONNRESET), "closed the connection", false},
		{&websocket.CloseError{Code: 1000}, "closed the connection", false},
		{errors.New("pingresp not received, disconnecting"), "pingresp", false},
		{network(errors.New("something else")), "something else", false},
	} {
		got, err := explain(tt.err, "h:1")
		if !strings.Contains(got, tt.want) || strings.Contains(got, "network Error") {
			t.Errorf("%v is explained as %q, want %q in it", tt.err, got, tt.want)
		}
		if errors.Is(err, ErrCredentials) != tt.credentials || !errors.Is(err, tt.err) {
			t.Errorf("%v becomes %v", tt.err, err)
		}
	}
}
