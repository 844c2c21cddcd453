package matrix

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/id"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

const (
	requestTimeout = 60 * time.Second
	responseLimit  = 4 << 20
)

// request is one request to the homeserver.
type request struct {
	endpoint endpoint
	method   string
	path     mautrix.PrefixableURLPath
	query    map[string]string
	as       ids.UserID    // appservice: the user to speak as; "" is the token's own
	device   string        // appservice: the device of as; "" none
	open     bool          // sent without a token
	token    string        // in place of ours, speaking as its own user; "" ours
	body     any           // encoded as JSON; nil sends none (or {} where a body is due)
	raw      []byte        // sent as it is, with mime
	mime     string        //
	into     any           // a pointer that the answer is decoded into; nil ignores it
	limit    int64         // bytes of the answer; 0 means 4 MiB
	timeout  time.Duration // 0 means 60 s
	once     bool          // doing it twice would show: an answer not seen is Unknown
	constant bool          // a message that says the same to everybody, and may be readable anywhere
}

// do performs r, once. Its error is nil or a lane.Outcome.
func (c *Client) do(ctx context.Context, r request) error {
	if !r.open && c.accessToken() == "" { // an account before its first log-in: the answer would read as a refusal of us
		return lane.Outcome{Verdict: lane.Retry, Code: "not ready", Reason: ErrNotAsked.Error()}
	}
	params := mautrix.FullRequest{Method: r.method, ResponseJSON: r.into, ResponseSizeLimit: r.limit, MaxAttempts: 1, Headers: http.Header{}, Handler: readAnswer}
	switch {
	case r.raw != nil:
		params.RequestBytes = r.raw
		params.Headers.Set("Content-Type", r.mime)
	case r.body != nil:
		raw, err := encode(r.body)
		if err != nil {
			return lane.Outcome{Verdict: lane.Dead, Code: "encoding", Reason: err.Error()}
		}
		params.RequestBytes = raw
		params.Headers.Set("Content-Type", "application/json")
	}
	if err := c.guard(ctx, r, params.RequestBytes); err != nil {
		return err
	}
	if params.ResponseSizeLimit == 0 {
		params.ResponseSizeLimit = responseLimit
	}
	timeout := r.timeout
	if timeout == 0 {
		timeout = requestTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var sent atomic.Bool // a connection was had: from here on any part may have been written
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})

	cli := c.session(r)
	params.URL = cli.BuildURLWithQuery(r.path, r.query)
	_, res, err := cli.MakeFullRequestWithResp(ctx, params) //nolint:bodyclose // mautrix has read and closed it
	label := "network"
	if res != nil {
		label = statusLabel(res.StatusCode)
	}
	c.metrics.requests.Inc(string(r.endpoint), label)
	if err == nil {
		return nil
	}
	o := outcome(err, sent.Load(), r.once)
	if o.Verdict == lane.Stop && !r.open && r.token == "" {
		c.health.set(partToken, o)
		c.askAgain()
	}
	return o
}

// readAnswer is mautrix's handler of a 2xx: it reads at most limit bytes, prunes what is nested too deep and decodes the
// rest into v, if that is not nil.
func readAnswer(req *http.Request, res *http.Response, v any, limit int64) ([]byte, error) {
	raw, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = errTooLong
	}
	if err == nil && v != nil {
		err = json.Unmarshal(prune(raw, maxNesting), v)
	}
	if err != nil {
		return nil, mautrix.HTTPError{Request: req, Response: res, Message: "read the answer", WrappedError: err}
	}
	return nil, nil
}

// session is mautrix's client for one request. It shares the connections of all others; mautrix's own retries and its
// sleeping on 429 are off by MaxAttempts.
func (c *Client) session(r request) *mautrix.Client {
	cli := &mautrix.Client{HomeserverURL: c.base, Client: c.http, UserAgent: "gatepost"}
	if r.open {
		return cli
	}
	if r.token != "" {
		cli.AccessToken = r.token
		return cli
	}
	cli.AccessToken = c.accessToken()
	if c.cfg.Mode == Appservice && r.as != "" {
		cli.UserID, cli.SetAppServiceUserID = id.UserID(r.as), true
		cli.DeviceID, cli.SetAppServiceDeviceID = id.DeviceID(r.device), r.device != ""
	}
	return cli
}

// speaker is the user that a request is made as: the bot unless a ghost is named in a mode that has ghosts.
func (c *Client) speaker(user ids.UserID) ids.UserID {
	if c.cfg.Mode == Account || user == "" {
		return c.bot
	}
	return user
}

// encode writes JSON without escaping <, > and &, which would spend six bytes each of an event's 65 536.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
