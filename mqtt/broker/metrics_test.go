package broker

import (
	"net/http/httptest"
	"testing"

	"github.com/gatepost/gatepost/internal/metrics"
)

// scrape gives the metrics as text.
func scrape(t testing.TB, reg *metrics.Registry) string {
	t.Helper()
	w := httptest.NewRecorder()
	reg.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}
