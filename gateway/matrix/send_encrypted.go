package matrix

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"maunium.net/go/mautrix"
	"maunium.net/go/mautrix/crypto/attachment"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/gateway/room"
	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/internal/logkey"
)

// codeEncrypted is the Outcome.Code of what is not sent because the room is encrypted.
const codeEncrypted = "encryption"

// maxEncrypted are the bytes of a content that is to be encrypted, tried from the left until what the machine makes of it
// is small enough: it writes six bytes for each <, > and &.
var maxEncrypted = [...]int{40 << 10, 20 << 10, 6 << 10}

// maxEscaped is the bytes that a content may have as the machine writes it, before base64 makes four of three: the event
// must stay below 65 536.
const maxEscaped = 42 << 10

// sendEncrypted performs r in an encrypted room, always as the bot: ghosts have no device. Nothing of what r says, not even
// what it is about, is readable for the homeserver; a redaction says nothing at all, and a reaction can't be sent.
func (c *Client) sendEncrypted(ctx context.Context, in ids.RoomID, r lane.Record) lane.Outcome {
	dead := func(reason string) lane.Outcome {
		return lane.Outcome{Verdict: lane.Dead, Code: codeEncrypted, Reason: reason}
	}
	switch {
	case c.engine == nil:
		return dead("the room is encrypted, and encryption is off here")
	case r.Post.Kind == lane.Reaction:
		return dead("the room is encrypted, and reactions can't be")
	}
	device, err := c.device(ctx, c.bot)
	if err != nil {
		return notSent(lane.OutcomeOf(err))
	}
	req := request{endpoint: epSend, method: http.MethodPut, as: c.bot, device: device, once: true, query: map[string]string{}, mime: "application/json"}
	if r.Post.Kind == lane.Redaction {
		req.endpoint, req.raw = epRedact, []byte("{}")
		req.path = mautrix.ClientURLPath{"v3", "rooms", in, "redact", r.Post.RelatesTo, r.ID}
		return c.sendOnce(ctx, in, c.bot, r, req)
	}
	kind, of, err := contentOf(r, placed{}, maxEncrypted[0]) // without its media, which is sealed with another key each time
	if err != nil {
		return lane.Outcome{Verdict: lane.Dead, Code: "record", Reason: err.Error()}
	}
	content, err := c.engine.encrypt(ctx, in, r.ID, kind, of, func() ([]byte, error) { return c.plainOf(ctx, r) })
	if err != nil {
		return encryptOutcome(err)
	}
	req.path = mautrix.ClientURLPath{"v3", "rooms", in, "send", kindEncrypted, r.ID}
	req.raw = content
	if ts, ok := c.originalTime(r.At); ok {
		req.query["ts"] = ts
	}
	o := c.sendOnce(ctx, in, c.bot, r, req)
	if o.Verdict == lane.Done {
		c.engine.sent(in, r.ID)
	}
	return o
}

// encryptOutcome leaves a verdict about the record as it is; nothing else that failed was its fault.
func encryptOutcome(err error) lane.Outcome {
	o := lane.OutcomeOf(err)
	if o.Verdict == lane.Dead && (o.Code == codeEncrypted || o.Code == "record" || o.Code == "M_TOO_LARGE") {
		return o
	}
	return notSent(o)
}

// plainOf is the content of r as it is encrypted. Its media is put on the homeserver first, encrypted as well.
func (c *Client) plainOf(ctx context.Context, r lane.Record) ([]byte, error) {
	var at placed
	if r.Post.Kind == lane.Media {
		file, err := c.uploadSealed(ctx, r)
		if err != nil {
			return nil, err
		}
		at.file = file
	}
	for _, limit := range maxEncrypted {
		_, content, err := contentOf(r, at, limit)
		if err != nil {
			return nil, lane.Outcome{Verdict: lane.Dead, Code: "record", Reason: err.Error()}
		}
		if len(content)+5*(bytes.Count(content, []byte("<"))+bytes.Count(content, []byte(">"))+bytes.Count(content, []byte("&"))) <= maxEscaped {
			return content, nil
		}
	}
	return nil, lane.Outcome{Verdict: lane.Dead, Code: "record", Reason: "too large for an encrypted event"}
}

// uploadSealed encrypts the media of r and puts it on the homeserver, which learns its size.
func (c *Client) uploadSealed(ctx context.Context, r lane.Record) (*sealedFile, error) {
	memo := r.ID + " sealed"
	var f sealedFile
	if kept := c.uploads.get(memo); kept != "" && json.Unmarshal([]byte(kept), &f) == nil {
		return &f, nil
	}
	f.EncryptedFile = *attachment.NewEncryptedFile()
	data := bytes.Clone(r.Post.Data)
	f.EncryptInPlace(data)
	mxc, err := c.put(ctx, c.bot, data, "application/octet-stream", "file")
	if err != nil {
		return nil, err
	}
	f.URL = mxc
	raw, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	c.uploads.put(memo, string(raw))
	return &f, nil
}

// findEncrypted looks for the event that r became, by its ciphertext. What was never encrypted was never sent.
func (c *Client) findEncrypted(ctx context.Context, in ids.RoomID, r lane.Record) (ids.EventID, bool, error) {
	if c.engine == nil {
		return "", false, nil
	}
	ciphertext, err := c.engine.ciphertext(r.ID)
	if err != nil || ciphertext == "" {
		return "", false, err
	}
	e, ok, err := c.scan(ctx, in, c.bot, r.At, func(e object) bool {
		return e.text("sender") == string(c.bot) && e.object("content").text("ciphertext") == ciphertext
	})
	if ok {
		c.engine.sent(in, r.ID)
	}
	return e, ok, err
}

// Decrypt reads an event of type m.room.encrypted that is news. What comes back has the type and the content of what was said, and
// says how sure it is who said it. Errors: room.ErrNoKeys, ErrWithheld, ErrUnreadable; anything else passes.
func (c *Client) Decrypt(ctx context.Context, e room.Event) (room.Event, error) {
	return c.decrypt(ctx, e, true)
}

func (c *Client) decrypt(ctx context.Context, e room.Event, news bool) (room.Event, error) {
	if c.engine == nil {
		return e, room.ErrUnreadable
	}
	return c.engine.decrypt(ctx, e, news)
}

// declined is the only sentence that we say readable in an encrypted room. It is the same for everybody.
const declined = "I can't read, write or take calls in an encrypted chat. Talk to %s instead, or in the room that it made for me: there !call rings you."

// Decline says, as user, the one fixed sentence that may be readable in an encrypted room. Whether it arrived nobody is told.
func (c *Client) Decline(ctx context.Context, in ids.RoomID, user ids.UserID) {
	if !validRoomID(string(in)) {
		return
	}
	err := c.do(ctx, request{
		endpoint: epSend, method: http.MethodPut, as: c.speaker(user),
		path:     mautrix.ClientURLPath{"v3", "rooms", in, "send", "m.room.message", ids.NewULID(c.cfg.Now())},
		body:     map[string]any{"msgtype": "m.notice", "body": fmt.Sprintf(declined, c.bot), "m.mentions": mentions{}},
		constant: true,
	})
	if err != nil {
		c.cfg.Log.Info("an encrypted chat could not be declined", logkey.Room, string(in), logkey.Error, err.Error())
	}
}
