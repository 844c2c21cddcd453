package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"
)

// APIError is a homeserver's refusal.
type APIError struct {
	Status  int
	Code    string `json:"errcode"`
	Message string `json:"error"`
	RetryMS int64  `json:"retry_after_ms"`
}

func (e *APIError) Error() string { return fmt.Sprintf("%d %s: %s", e.Status, e.Code, e.Message) }

// client speaks the Client-Server API as one user. Safe for concurrent use.
type client struct {
	base  string
	token string // "" before the log-in
}

// How often a read that the homeserver failed is asked for again: Dendrite now and then answers 500 when it is busy.
const rereads = 5

// do sends body as JSON (nil: none) and decodes the answer into out (nil: not looked at). It waits out rate limits, and
// asks again for reads that the homeserver failed, as clients do.
func (c *client) do(ctx context.Context, method, path string, body, out any) error {
	for attempt := 0; ; attempt++ {
		data, err := c.once(ctx, method, path, body)
		var refused *APIError
		switch {
		case errors.As(err, &refused) && refused.Status >= 500 && method == http.MethodGet && attempt < rereads:
			select {
			case <-time.After(200 * time.Millisecond):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		case errors.As(err, &refused) && refused.Status == http.StatusTooManyRequests:
			select {
			case <-time.After(min(time.Duration(refused.RetryMS)*time.Millisecond, 5*time.Second) + 10*time.Millisecond):
				continue
			case <-ctx.Done():
				return ctx.Err()
			}
		case err != nil:
			return err
		case out == nil:
			return nil
		}
		if err := json.Unmarshal(data, out); err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		return nil
	}
}

func (c *client) once(ctx context.Context, method, path string, body any) ([]byte, error) {
	var payload io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		payload = bytes.NewReader(b)
	}
	return c.raw(ctx, method, path, payload)
}

func (c *client) raw(ctx context.Context, method, path string, payload io.Reader) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, payload)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 != 2 {
		refused := &APIError{Status: resp.StatusCode}
		if json.Unmarshal(data, refused) != nil {
			refused.Message = string(data[:min(len(data), 200)])
		}
		return nil, fmt.Errorf("%s %s: %w", method, path, refused)
	}
	return data, nil
}
