package matrix

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gatepost/gatepost/internal/logkey"
)

const (
	maxTransaction = 16 << 20
	maxTxnID       = 255
	stopTime       = 3 * time.Second // a transaction in progress may end
	refusedEvery   = 60              // seconds without refused requests before one is worth a warning
)

// serve answers the homeserver until ctx is done. Without a listener it only waits.
func (c *Client) serve(ctx context.Context) error {
	if c.listener == nil {
		<-ctx.Done()
		return nil
	}
	srv := &http.Server{
		Handler:           c.appserviceHandler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		WriteTimeout:      90 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    maxHeader,
	}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(c.listener) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		_ = srv.Close() // what it says was said by Shutdown
	}
	if err := <-done; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// appserviceHandler is the Application Service API as far as gatepost needs it. It knows no user or room that was not made
// before, so both queries answer "not found".
func (c *Client) appserviceHandler() http.Handler {
	mux := http.NewServeMux()
	for _, prefix := range []string{"/_matrix/app/v1", ""} { // the second is that of homeservers before 2018
		mux.HandleFunc("PUT "+prefix+"/transactions/{txn}", c.transaction)
		mux.HandleFunc("GET "+prefix+"/users/{user}", notFound)
		mux.HandleFunc("GET "+prefix+"/rooms/{alias}", notFound)
	}
	mux.HandleFunc("POST /_matrix/app/v1/ping", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "", "") })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusNotFound, "M_UNRECOGNIZED", "no such endpoint")
	})
	return c.authorised(mux)
}

// authorised lets nobody through without the hs_token, before a byte of the body is read.
func (c *Client) authorised(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(c.cfg.HSToken))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, code := hsToken(r)
		got := sha256.Sum256([]byte(given))
		switch {
		case code != 0:
		case given == "":
			code = http.StatusUnauthorized
		case subtle.ConstantTimeCompare(got[:], want[:]) != 1:
			code = http.StatusForbidden
		default:
			next.ServeHTTP(w, r)
			return
		}
		c.metrics.transactions.Inc(statusLabel(code))
		level := slog.LevelDebug
		if now := c.cfg.Now().Unix(); now-c.refusedAt.Swap(now) >= refusedEvery { // a stranger cannot fill the log
			level = slog.LevelWarn
		}
		c.cfg.Log.Log(r.Context(), level, "appservice request refused", logkey.Reason, "hs_token", logkey.Code, code, logkey.Address, r.RemoteAddr)
		errcode := "M_FORBIDDEN"
		if code == http.StatusUnauthorized {
			errcode = "M_MISSING_TOKEN"
		}
		answer(w, code, errcode, "this is not the hs_token of the registration")
	})
}

// hsToken reads the token from the header and from the query (old homeservers send both). When they differ it answers a
// status.
func hsToken(r *http.Request) (token string, refuse int) {
	header, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	query := r.URL.Query().Get("access_token")
	switch {
	case header == "":
		return query, 0
	case query != "" && subtle.ConstantTimeCompare([]byte(header), []byte(query)) != 1:
		return "", http.StatusForbidden
	default:
		return header, 0
	}
}

// transaction commits the events of one transaction, then answers. Whatever is not 200 is sent again by the homeserver.
func (c *Client) transaction(w http.ResponseWriter, r *http.Request) {
	status, errcode, text := c.takeTransaction(w, r)
	c.metrics.transactions.Inc(statusLabel(status))
	answer(w, status, errcode, text)
}

func (c *Client) takeTransaction(w http.ResponseWriter, r *http.Request) (status int, errcode, text string) {
	txn := r.PathValue("txn")
	if len(txn) > maxTxnID {
		return http.StatusBadRequest, "M_INVALID_PARAM", "transaction id too long"
	}
	select { // one at a time: that bounds memory, and keeps the order
	case c.intake <- struct{}{}:
		defer func() { <-c.intake }()
	case <-r.Context().Done():
		return http.StatusServiceUnavailable, "M_UNKNOWN", "interrupted"
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxTransaction))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		c.cfg.Log.Error("transaction too large", logkey.Bytes, maxTransaction)
		return http.StatusRequestEntityTooLarge, "M_TOO_LARGE", "transaction too large"
	case err != nil:
		return http.StatusBadRequest, "M_NOT_JSON", "the body ended early"
	}
	raws, errcode := parseTransaction(body)
	if errcode != "" {
		c.cfg.Log.Error("transaction malformed", logkey.Code, errcode, logkey.Bytes, len(body))
		return http.StatusBadRequest, errcode, "not a transaction"
	}
	events := c.parseAll(raws, "")
	if len(events) == 0 {
		return http.StatusOK, "", ""
	}
	err = c.book.apply(events)
	fresh := 0
	if err == nil {
		fresh, err = c.cfg.Inbox.Accept(SourceAppservice, txn, events)
	}
	if err != nil {
		c.cfg.Log.Error("transaction not stored", logkey.Count, len(events), logkey.Error, err)
		c.askAgain() // with a ping, or Synapse would wait up to 512 s longer than it takes us to store again
		return http.StatusInternalServerError, "M_UNKNOWN", "not stored, send it again"
	}
	c.metrics.events.Add(float64(fresh), SourceAppservice)
	return http.StatusOK, "", ""
}

// parseTransaction takes the events out of a body; errcode is "" when it is a transaction. One without events is fine.
func parseTransaction(body []byte) (events []json.RawMessage, errcode string) {
	body = prune(body, maxNesting)
	var o object
	if !json.Valid(body) {
		return nil, "M_NOT_JSON"
	}
	if json.Unmarshal(body, &o) != nil || o == nil {
		return nil, "M_BAD_JSON"
	}
	if raw, ok := o["events"]; ok && json.Unmarshal(raw, &events) != nil {
		return nil, "M_BAD_JSON"
	}
	return events, ""
}

func notFound(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusNotFound, "M_NOT_FOUND", "not here")
}

// answer writes a Matrix error, or {} when errcode is empty.
func answer(w http.ResponseWriter, status int, errcode, text string) {
	body := []byte("{}")
	if errcode != "" {
		body, _ = encode(map[string]string{"errcode": errcode, "error": text}) // two strings can be encoded
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the homeserver asks again when it does not see it
}
