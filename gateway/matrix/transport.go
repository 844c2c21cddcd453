package matrix

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	dialTimeout   = 10 * time.Second
	idleConns     = 8
	maxHeader     = 64 << 10
	earliestClock = 1577836800 // 2020-01-01 in Unix seconds: a clock before it has not been set
)

// watch is the transport of all requests. It notes what every answer tells by the way: the homeserver's clock, and that
// the homeserver is back after it was away.
type watch struct {
	next   http.RoundTripper
	now    func() time.Time
	offset atomic.Pointer[time.Duration]
	lost   atomic.Bool
	back   func() // called when an answer came after lost ones; must not block
}

func newWatch(dial func(context.Context, string, string) (net.Conn, error), now func() time.Time, back func()) *watch {
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	return &watch{now: now, back: back, next: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dial,
		TLSHandshakeTimeout:    dialTimeout,
		MaxIdleConnsPerHost:    idleConns,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeader,
		ForceAttemptHTTP2:      true,
	}}
}

// client makes the HTTP client over w. It follows no redirect: a homeserver has none, and a token must not travel.
func (w *watch) client() *http.Client {
	return &http.Client{Transport: w, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// RoundTrip is safe for concurrent use.
func (w *watch) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := w.next.RoundTrip(req)
	switch {
	case err != nil && errors.Is(err, context.Canceled): // we gave up, the homeserver did nothing wrong
	case err != nil || res.StatusCode >= http.StatusBadGateway && res.StatusCode <= http.StatusGatewayTimeout:
		w.lost.Store(true)
	case w.lost.Swap(false):
		w.back()
	}
	if err == nil {
		w.readClock(res.Header.Get("Date"))
	}
	return res, err
}

// readClock takes a Date header (RFC 9110 section 6.6.1), which is cut to the second: half a second is the best guess.
func (w *watch) readClock(date string) {
	theirs, err := http.ParseTime(date)
	if err != nil || theirs.Unix() < earliestClock {
		return
	}
	offset := theirs.Add(500 * time.Millisecond).Sub(w.now())
	w.offset.Store(&offset)
}

func (w *watch) close() {
	if t, ok := w.next.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}
