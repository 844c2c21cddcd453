package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"net/http"
	"strings"
)

// Health is what /healthz and /readyz answer.
type Health struct {
	OK  bool     `json:"ok"`
	Why []string `json:"why,omitempty"` // one reason each; empty when OK
}

func (s *Server) health(mux *http.ServeMux) {
	mux.Handle("GET /healthz", check(s.cfg.Live))
	mux.Handle("GET /readyz", check(s.cfg.Ready))
}

func check(ask func() (bool, []string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h, code := Health{OK: true}, http.StatusOK
		if ask != nil {
			if ok, why := ask(); !ok {
				h, code = Health{Why: why}, http.StatusServiceUnavailable
			}
		}
		answer(w, code, h)
	})
}

// withToken lets through who knows the token. The comparison takes the same time for every wrong one.
func (s *Server) withToken(next http.Handler) http.Handler {
	want := sha256.Sum256([]byte(s.cfg.Token))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.cfg.Token == "" {
			fail(w, &Error{Code: Refused, Text: "metrics need a token here: set admin.token_file"})
			return
		}
		given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		sum := sha256.Sum256([]byte(given))
		if !ok || subtle.ConstantTimeCompare(sum[:], want[:]) != 1 {
			w.Header().Set("WWW-Authenticate", `Bearer realm="gatepost"`)
			answer(w, http.StatusUnauthorized, wireError{Text: "wrong or missing token", Code: Refused})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// wireError is Error as it travels.
type wireError struct {
	Text string `json:"error"`
	Code string `json:"code"`
}

// answer writes v as the whole answer. A value that has no JSON form is a mistake in the program.
func answer(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		code = http.StatusInternalServerError
		body, _ = json.Marshal(wireError{Text: "answer: " + err.Error(), Code: Failed})
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n')) // a reader that went away is not our error
}
