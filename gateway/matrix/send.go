package matrix

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"maunium.net/go/mautrix"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

// Send performs r in the room as user, with r.ID as transaction id and content id. Media is uploaded first. The outcome is
// Unknown when the event may have been made: Find tells.
func (c *Client) Send(ctx context.Context, in ids.RoomID, user ids.UserID, r lane.Record) lane.Outcome {
	user = c.speaker(user)
	dead := func(code, reason string) lane.Outcome {
		return lane.Outcome{Verdict: lane.Dead, Code: code, Reason: reason}
	}
	if !validRoomID(string(in)) || r.ID == "" {
		return dead("record", "no room or no id")
	}
	if (r.Post.RelatesTo != "" || r.Post.Kind == lane.Reaction || r.Post.Kind == lane.Redaction) && !validEventID(string(r.Post.RelatesTo)) {
		return dead("record", "it relates to no event")
	}
	if r.Post.Replaces != "" && !validEventID(string(r.Post.Replaces)) {
		return dead("record", "it replaces no event")
	}
	switch encrypted, err := c.book.encrypted(ctx, in, user); { // the last step before the network
	case err != nil:
		return notSent(lane.OutcomeOf(err))
	case encrypted:
		return c.sendEncrypted(ctx, in, r)
	}
	var mxc string
	if r.Post.Kind == lane.Media {
		var err error
		if mxc, err = c.upload(ctx, user, r); err != nil {
			return lane.OutcomeOf(err)
		}
	}
	device, err := c.device(ctx, user)
	if err != nil {
		return notSent(lane.OutcomeOf(err))
	}
	req := request{endpoint: epSend, method: http.MethodPut, as: user, device: device, once: true, query: map[string]string{}}
	if r.Post.Kind == lane.Redaction {
		req.endpoint = epRedact
		req.path = mautrix.ClientURLPath{"v3", "rooms", in, "redact", r.Post.RelatesTo, r.ID}
		req.body = redaction{Gatepost: markOf(r)}
	} else {
		typ, content, err := contentOf(r, placed{mxc: mxc}, maxEventContent)
		if err != nil {
			return dead("record", err.Error())
		}
		req.path = mautrix.ClientURLPath{"v3", "rooms", in, "send", typ, r.ID}
		req.raw, req.mime = content, "application/json"
		if ts, ok := c.originalTime(r.At); ok {
			req.query["ts"] = ts
		}
	}
	return c.sendOnce(ctx, in, user, r, req)
}

func (c *Client) sendOnce(ctx context.Context, in ids.RoomID, user ids.UserID, r lane.Record, req request) lane.Outcome {
	var res struct {
		Event string `json:"event_id"`
	}
	req.into = &res
	start := time.Now()
	err := c.do(ctx, req)
	c.metrics.send.Observe(time.Since(start).Seconds())
	o := lane.OutcomeOf(err)
	switch {
	case err == nil && validEventID(res.Event):
		o.Event = ids.EventID(res.Event)
	case err == nil:
		o = lane.Outcome{Verdict: lane.Unknown, Code: "HTTP 200", Reason: "the homeserver gave no event id"}
	case o.Code == "M_UNKNOWN_DEVICE": // somebody removed it: made again before the next try
		c.devices.forget(user)
		o.Verdict = lane.Retry
	case o.Code == "M_DUPLICATE_ANNOTATION": // the reaction is there already, which is what was wanted
		o = lane.Outcome{Verdict: lane.Done}
		o.Event, _, _ = c.scan(ctx, in, user, r.At, sameReaction(user, r.Post)) // without its id it cannot be taken back later, no more
	}
	return o
}

// notSent turns a failure before the send into one: nothing was sent, so it is never Unknown, nor the record's fault.
func notSent(o lane.Outcome) lane.Outcome {
	if o.Verdict == lane.Unknown || o.Verdict == lane.Dead {
		o.Verdict = lane.Retry
	}
	return o
}

// originalTime is the "ts" by which an appservice keeps the time at which the device spoke. A time that no set clock shows,
// or that the homeserver's clock has not reached, is left out.
func (c *Client) originalTime(at time.Time) (ms string, ok bool) {
	offset, known := c.Offset()
	if c.cfg.Mode != Appservice || at.Unix() < earliestClock || known && at.After(c.cfg.Now().Add(offset+2*time.Second)) {
		return "", false
	}
	return strconv.FormatInt(at.UnixMilli(), 10), true
}
