package matrix

import (
	"strconv"

	"github.com/gatepost/gatepost/internal/metrics"
)

// endpoint is a label: what a request asks for.
type endpoint string

const (
	epWhoami       endpoint = "whoami"
	epVersions     endpoint = "versions"
	epCapabilities endpoint = "capabilities"
	epMediaConfig  endpoint = "media_config"
	epPing         endpoint = "ping"
	epLogin        endpoint = "login"
	epRegister     endpoint = "register"
	epDevice       endpoint = "device"
	epProfile      endpoint = "profile"
	epCreateRoom   endpoint = "create_room"
	epDirectory    endpoint = "directory"
	epState        endpoint = "state"
	epSetState     endpoint = "set_state"
	epInvite       endpoint = "invite"
	epJoin         endpoint = "join"
	epLeave        endpoint = "leave"
	epEvent        endpoint = "event"
	epMessages     endpoint = "messages"
	epSend         endpoint = "send"
	epRedact       endpoint = "redact"
	epUpload       endpoint = "upload"
	epSync         endpoint = "sync"
	epKeys         endpoint = "keys"
)

type clientMetrics struct {
	requests     *metrics.Counter   // endpoint, code
	send         *metrics.Histogram // seconds of one send or redaction, media upload not included
	transactions *metrics.Counter   // code: what we answered
	events       *metrics.Counter   // source: fresh ones
	ignored      *metrics.Counter   // events that no valid event can look like
}

func newMetrics(reg *metrics.Registry) clientMetrics {
	return clientMetrics{
		requests:     reg.Counter("gatepost_matrix_requests_total", "Requests to the homeserver by what came back.", "endpoint", "code"),
		send:         reg.Histogram("gatepost_matrix_send_seconds", "Time of one send or redaction.", metrics.Seconds),
		transactions: reg.Counter("gatepost_matrix_transactions_total", "Appservice requests by what we answered.", "code"),
		events:       reg.Counter("gatepost_matrix_events_total", "Events from the homeserver that were new to us.", "source"),
		ignored:      reg.Counter("gatepost_matrix_malformed_events_total", "Events from the homeserver that were not valid."),
	}
}

// statusLabel keeps the label's values few whatever a homeserver answers.
func statusLabel(status int) string {
	switch status {
	case 200, 400, 401, 403, 404, 413, 429, 500, 502, 503, 504:
		return strconv.Itoa(status)
	}
	if status >= 100 && status <= 599 {
		return strconv.Itoa(status/100) + "xx"
	}
	return "other"
}
