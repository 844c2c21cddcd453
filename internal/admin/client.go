package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"
)

// maxAnswer bounds what Call reads, in bytes.
const maxAnswer = 64 << 20

// Client asks a running gateway through its socket. Safe for concurrent use; it keeps no connection open.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a Client for the socket at path. It does not look whether anybody listens there.
func NewClient(path string) *Client {
	return &Client{socket: path, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: 5 * time.Second}
			return d.DialContext(ctx, "unix", path)
		},
		DisableKeepAlives:     true,
		DisableCompression:    true,
		ResponseHeaderTimeout: VerbTime + writeTimeout,
	}}}
}

// Socket is the path that the client was made for.
func (c *Client) Socket() string { return c.socket }

// Ping is nil when a gateway answers on the socket, whether all is well with it or not; ErrNotRunning when none does.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gatepost/healthz", nil)
	if err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	res, err := c.do("ping", req)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// Call asks for a verb and decodes its answer into out (nil: it is not looked at). A nil in sends no body.
// ErrNotRunning when nobody listens, *Error when the verb itself failed.
func (c *Client) Call(ctx context.Context, verb string, in, out any) error {
	ctx, cancel := context.WithTimeout(ctx, VerbTime+writeTimeout)
	defer cancel()
	res, err := c.post(ctx, verb, in)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCutShort, err)
	}
	if len(body) > maxAnswer {
		return fmt.Errorf("the answer to %s is larger than %d bytes", verb, maxAnswer)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("the answer to %s: %w", verb, err)
	}
	return nil
}

// Stream asks for a verb made with HandleStream and copies what it answers to w. Unless the error is nil, what w received
// is not whole.
func (c *Client) Stream(ctx context.Context, verb string, in any, w io.Writer) error {
	res, err := c.post(ctx, verb, in)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err := io.Copy(w, res.Body); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	switch end := res.Trailer.Get(trailer); end {
	case "ok":
		return nil
	case "":
		return fmt.Errorf("%s: %w", verb, ErrCutShort)
	default:
		return fromWire([]byte(end))
	}
}

func (c *Client) post(ctx context.Context, verb string, in any) (*http.Response, error) {
	var body []byte
	if in != nil {
		var err error
		if body, err = json.Marshal(in); err != nil {
			return nil, fmt.Errorf("%s: %w", verb, err)
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://gatepost/v1/"+verb, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	res, err := c.do(verb, req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		defer func() { _ = res.Body.Close() }()
		text, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
		if err != nil {
			return nil, fmt.Errorf("%s: %w: %w", verb, ErrCutShort, err)
		}
		return nil, fromWire(text)
	}
	return res, nil
}

// do sends a request; that nobody listens is ErrNotRunning.
func (c *Client) do(verb string, req *http.Request) (*http.Response, error) {
	res, err := c.http.Do(req)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w on %s", ErrNotRunning, c.socket)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%s belongs to another user: run this as the user of the gateway", c.socket)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", verb, err)
	}
	return res, nil
}

func fromWire(text []byte) error {
	var e wireError
	if json.Unmarshal(text, &e) != nil || e.Text == "" {
		return &Error{Code: Failed, Text: fmt.Sprintf("the gateway gave an answer that is none of gatepost's: %.200q", text)}
	}
	return &Error{Code: e.Code, Text: e.Text}
}
