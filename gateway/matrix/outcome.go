package matrix

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	"maunium.net/go/mautrix"

	"github.com/gatepost/gatepost/gateway/lane"
)

const (
	maxPause  = 5 * time.Minute // no homeserver makes us wait longer
	maxReason = 300             // bytes of a homeserver's text that we keep

	codeTooLong = "answer too long" // Outcome.Code when an answer is above its limit
)

// outcome says what a failed request came to. sent is true when any of it may have been written; once is true when doing
// it twice would show.
func outcome(err error, sent, once bool) lane.Outcome {
	unsure := lane.Retry
	if once {
		unsure = lane.Unknown
	}
	var he mautrix.HTTPError
	if !errors.As(err, &he) || he.Response == nil {
		o := lane.Outcome{Verdict: lane.Retry, Code: "network", Reason: networkReason(err)}
		if sent {
			o.Verdict = unsure
		}
		return o
	}

	status := he.Response.StatusCode
	o := lane.Outcome{Code: fmt.Sprintf("HTTP %d", status), Reason: http.StatusText(status)}
	if he.RespError != nil {
		o.Code, o.Reason = clean(he.RespError.ErrCode, 64), clean(he.RespError.Err, maxReason)
	}
	named := he.RespError != nil // the homeserver's own word, not that of something in front of it
	switch {
	case status >= 200 && status <= 299:
		o.Verdict, o.Reason = unsure, "the answer cannot be read: "+clean(rootText(he.WrappedError), maxReason)
		if errors.Is(he.WrappedError, errTooLong) {
			o.Code = codeTooLong
		}
	case status == http.StatusTooManyRequests || o.Code == "M_LIMIT_EXCEEDED":
		o.Verdict, o.Limited, o.After = lane.Retry, true, pause(he)
	case status == http.StatusUnauthorized || o.Code == "M_UNKNOWN_TOKEN" || o.Code == "M_MISSING_TOKEN":
		o.Verdict = lane.Stop
	case status >= 500 || status == http.StatusRequestTimeout:
		o.Verdict, o.After = unsure, pause(he)
	case status < 200 || status <= 399:
		o.Verdict, o.Reason = lane.Retry, "not a homeserver's answer: is the homeserver's URL right?"
	case named, status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge,
		status == http.StatusRequestURITooLong, status == http.StatusRequestHeaderFieldsTooLarge:
		o.Verdict = lane.Dead
	default: // a 403 or 404 of a proxy says nothing about the record
		o.Verdict, o.Reason = lane.Retry, o.Reason+", and not from a homeserver: is the homeserver's URL right?"
	}
	return o
}

// pause is the larger of the Retry-After header and retry_after_ms, at most maxPause; 0 when neither says anything.
func pause(he mautrix.HTTPError) time.Duration {
	var d time.Duration
	if h := he.Response.Header.Get("Retry-After"); h != "" {
		if s, err := strconv.ParseFloat(h, 64); err == nil {
			d = seconds(s)
		} else if at, err := http.ParseTime(h); err == nil {
			if now, err := http.ParseTime(he.Response.Header.Get("Date")); err == nil {
				d = seconds(at.Sub(now).Seconds())
			}
		}
	}
	if he.RespError != nil {
		if ms, ok := he.RespError.ExtraData["retry_after_ms"].(float64); ok {
			d = max(d, seconds(ms/1000))
		}
	}
	return d
}

func seconds(s float64) time.Duration {
	switch {
	case math.IsNaN(s) || s <= 0:
		return 0
	case s >= maxPause.Seconds():
		return maxPause
	default:
		return time.Duration(s * float64(time.Second))
	}
}

// networkReason is err without the URL, which names rooms and people.
func networkReason(err error) string {
	var ne net.Error
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	}
	return clean(rootText(err), maxReason)
}

func rootText(err error) string {
	if err == nil {
		return "unknown"
	}
	var he mautrix.HTTPError
	if errors.As(err, &he) && he.WrappedError != nil {
		err = he.WrappedError
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		err = ue.Err
	}
	return err.Error()
}

// clean makes a foreign text fit for a log line: valid UTF-8, no controls, at most n bytes.
func clean(s string, n int) string {
	if len(s) > 4*n {
		s = s[:4*n]
	}
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
	return cut(s, n)
}

// cut shortens s to at most n bytes without splitting a rune.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}
