package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func echo(_ context.Context, body json.RawMessage) (any, error) {
	if body == nil {
		return nil, nil
	}
	return body, nil
}

func TestCall(t *testing.T) {
	path := socketPath(t)
	unwell := func() (bool, []string) { return false, []string{"the sender hangs"} } // but there
	start(t, Config{Socket: path, Live: unwell}, func(s *Server) {
		s.Handle("echo", echo)
		s.Handle("missing", func(context.Context, json.RawMessage) (any, error) {
			return nil, fmt.Errorf("device: %w", &Error{Code: NotFound, Text: `no device "x"`})
		})
		s.Handle("broken", func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("disk on fire") })
		s.Handle("endless", func(context.Context, json.RawMessage) (any, error) { return make(chan int), nil })
	})
	c := NewClient(path)
	if err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}

	var got struct{ A []int }
	if err := c.Call(t.Context(), "echo", map[string]any{"A": []int{1, 2}}, &got); err != nil || len(got.A) != 2 {
		t.Fatalf("echo: %v %v", got, err)
	}
	if err := c.Call(t.Context(), "echo", nil, &got); err != nil {
		t.Fatalf("no body: %v", err)
	}
	for _, w := range []struct{ verb, code, text string }{
		{"missing", NotFound, `device: no device "x"`},
		{"broken", Failed, "disk on fire"},
		{"endless", Failed, "unsupported type"},
		{"unheard-of", NotFound, "same version"},
	} {
		err := c.Call(t.Context(), w.verb, nil, nil)
		var e *Error
		if !errors.As(err, &e) || e.Code != w.code || !strings.Contains(e.Text, w.text) {
			t.Errorf("%s: got %v", w.verb, err)
		}
	}
}

func TestNotRunning(t *testing.T) {
	path := socketPath(t)
	for _, ask := range []func() error{
		func() error { return NewClient(path).Call(t.Context(), "echo", nil, nil) },
		func() error { return NewClient(path).Ping(t.Context()) },
	} {
		if err := ask(); !errors.Is(err, ErrNotRunning) || err.Error() != "no gatepost is running on "+path {
			t.Fatalf("no file: %v", err)
		}
	}
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	if err := NewClient(path).Stream(t.Context(), "echo", nil, io.Discard); !errors.Is(err, ErrNotRunning) {
		t.Fatalf("stale socket: %v", err)
	}
}

func TestBadRequests(t *testing.T) {
	path := socketPath(t)
	start(t, Config{Socket: path}, func(s *Server) { s.Handle("echo", echo) })
	hc := NewClient(path).http
	for _, c := range []struct {
		name, method, url, body string
		code                    int
		want                    string
	}{
		{"not json", "POST", "/v1/echo", "{", 400, "not JSON"},
		{"two values", "POST", "/v1/echo", "{}{}", 400, "not JSON"},
		{"too large", "POST", "/v1/echo", `"` + strings.Repeat("x", maxBody) + `"`, 400, "larger than"},
		{"wrong method", "GET", "/v1/echo", "", 404, "does not know"},
		{"header too large", "POST", "/v1/" + strings.Repeat("x", 2*maxHeader), "", 431, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), c.method, "http://gatepost"+c.url, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			res, err := hc.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = res.Body.Close() }()
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != c.code || !strings.Contains(string(body), c.want) {
				t.Fatalf("got %d %.200s", res.StatusCode, body)
			}
		})
	}
}

func TestStream(t *testing.T) {
	path := socketPath(t)
	whole := bytes.Repeat([]byte("gatepost"), 200_000)
	start(t, Config{Socket: path}, func(s *Server) {
		s.HandleStream("whole", func(_ context.Context, _ json.RawMessage, w io.Writer) error {
			for rest := whole; len(rest) > 0; rest = rest[min(len(rest), 32<<10):] {
				if _, err := w.Write(rest[:min(len(rest), 32<<10)]); err != nil {
					return err
				}
			}
			return nil
		})
		s.HandleStream("empty", func(context.Context, json.RawMessage, io.Writer) error { return nil })
		s.HandleStream("refused", func(context.Context, json.RawMessage, io.Writer) error {
			return &Error{Code: Refused, Text: "not today"}
		})
		s.HandleStream("half", func(_ context.Context, _ json.RawMessage, w io.Writer) error {
			if _, err := w.Write(whole[:len(whole)/2]); err != nil {
				return err
			}
			return &Error{Code: Failed, Text: "read store:\nInput/output error"}
		})
		s.HandleStream("dies", func(_ context.Context, _ json.RawMessage, w io.Writer) error {
			if _, err := w.Write(whole); err != nil {
				return err
			}
			panic(http.ErrAbortHandler) // what a connection that breaks looks like
		})
	})
	c := NewClient(path)
	var out bytes.Buffer
	if err := c.Stream(t.Context(), "whole", nil, &out); err != nil || !bytes.Equal(out.Bytes(), whole) {
		t.Fatalf("whole: %d bytes, %v", out.Len(), err)
	}
	out.Reset()
	if err := c.Stream(t.Context(), "empty", nil, &out); err != nil || out.Len() != 0 {
		t.Fatalf("empty: %d bytes, %v", out.Len(), err)
	}
	for _, w := range []struct{ verb, text string }{
		{"refused", "not today"}, {"half", "read store:\nInput/output error"}, {"dies", "unexpected EOF"},
	} {
		if err := c.Stream(t.Context(), w.verb, nil, io.Discard); err == nil || !strings.Contains(err.Error(), w.text) {
			t.Errorf("%s: got %v", w.verb, err)
		}
	}
}

func TestStopEndsVerbs(t *testing.T) {
	path := socketPath(t)
	s, err := New(Config{Socket: path})
	if err != nil {
		t.Fatal(err)
	}
	working := make(chan struct{})
	s.Handle("wait", func(ctx context.Context, _ json.RawMessage) (any, error) {
		close(working)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done, answered := make(chan error, 1), make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	go func() { answered <- NewClient(path).Call(context.Background(), "wait", nil, nil) }()
	<-working
	began := time.Now()
	cancel()
	var e *Error
	if err := <-answered; !errors.As(err, &e) || e.Code != Unavailable {
		t.Errorf("the caller got %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	if took := time.Since(began); took > drainTime+time.Second {
		t.Errorf("stopping took %v", took)
	}
}

func TestGoneClientEndsVerb(t *testing.T) {
	path := socketPath(t)
	working, ended := make(chan struct{}), make(chan struct{})
	start(t, Config{Socket: path}, func(s *Server) {
		s.Handle("wait", func(ctx context.Context, _ json.RawMessage) (any, error) {
			close(working)
			<-ctx.Done()
			close(ended)
			return nil, ctx.Err()
		})
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-working; cancel() }()
	if err := NewClient(path).Call(ctx, "wait", nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the verb goes on without its caller")
	}
}
