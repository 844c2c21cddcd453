package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

// Verb does one thing for a Client. body is the request's JSON value, nil when it had none, and its own to keep. The
// result is answered as JSON; nil is answered as {}. It is called from many goroutines; ctx ends after VerbTime, when the
// client goes away and when Run stops.
type Verb func(ctx context.Context, body json.RawMessage) (any, error)

// Stream is a Verb that answers with bytes, written to w as they come. An error after the first byte reaches the client
// too. A client that stops reading for 30 s makes the next Write fail.
type Stream func(ctx context.Context, body json.RawMessage, w io.Writer) error

// trailer tells a client how a stream ended: "ok", or a wireError.
const trailer = "Gatepost-End"

var verbName = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)

// Handle makes f answer the verb called name (a-z and "-"). It is called before Run. A name that is taken or cannot be one
// panics: it is a mistake in the program.
func (s *Server) Handle(name string, f Verb) {
	s.register(name, func(w http.ResponseWriter, r *http.Request, body json.RawMessage) {
		ctx, cancel := context.WithTimeout(r.Context(), VerbTime)
		defer cancel()
		v, err := f(ctx, body)
		if err != nil {
			s.log.Info("control verb failed", logkey.Name, name, logkey.Error, err.Error())
			fail(w, err)
			return
		}
		if v == nil {
			v = struct{}{}
		}
		answer(w, http.StatusOK, v)
	})
}

// HandleStream is Handle for a Stream.
func (s *Server) HandleStream(name string, f Stream) {
	s.register(name, func(w http.ResponseWriter, r *http.Request, body json.RawMessage) {
		out := &streamWriter{w: w, rc: http.NewResponseController(w)}
		err := f(r.Context(), body, out)
		switch {
		case err == nil:
			out.begin()
			w.Header().Set(trailer, "ok")
		case !out.begun:
			s.log.Info("control verb failed", logkey.Name, name, logkey.Error, err.Error())
			fail(w, err)
		default:
			s.log.Info("control verb cut short", logkey.Name, name, logkey.Error, err.Error())
			text, _ := json.Marshal(toWire(err))
			w.Header().Set(trailer, string(text))
		}
	})
}

func (s *Server) register(name string, f func(http.ResponseWriter, *http.Request, json.RawMessage)) {
	if !verbName.MatchString(name) || s.verbs[name] != nil {
		panic(fmt.Sprintf("admin: verb %q", name))
	}
	s.verbs[name] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := readBody(w, r)
		if err != nil {
			fail(w, err)
			return
		}
		f(w, r, body)
	})
}

// readBody takes the one JSON value of a request, nil when there is none.
func readBody(w http.ResponseWriter, r *http.Request) (json.RawMessage, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, &Error{Code: BadRequest, Text: fmt.Sprintf("the request is larger than %d bytes", maxBody)}
	case err != nil:
		return nil, &Error{Code: BadRequest, Text: "the request was cut short"}
	case len(body) == 0:
		return nil, nil
	case !json.Valid(body):
		return nil, &Error{Code: BadRequest, Text: "the request is not JSON"}
	}
	return body, nil
}

func fail(w http.ResponseWriter, err error) {
	e := toWire(err)
	answer(w, status(e.Code), e)
}

func toWire(err error) wireError {
	code := Failed
	var e *Error
	switch {
	case errors.As(err, &e):
		code = e.Code
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		code = Unavailable
	}
	return wireError{Text: err.Error(), Code: code}
}

// streamWriter sends each piece at once, with a deadline of its own.
type streamWriter struct {
	w     http.ResponseWriter
	rc    *http.ResponseController
	begun bool
}

func (s *streamWriter) begin() {
	if !s.begun {
		s.begun = true
		s.w.Header().Set("Trailer", trailer)
		s.w.Header().Set("Content-Type", "application/octet-stream")
		s.w.WriteHeader(http.StatusOK)
	}
}

func (s *streamWriter) Write(p []byte) (int, error) {
	s.begin()
	if err := s.rc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return s.w.Write(p)
}
