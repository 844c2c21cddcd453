package matrix

import (
	"encoding/json"
	"fmt"
	"mime"
	"sort"
	"strings"
	"unicode/utf8"

	"maunium.net/go/mautrix/crypto/attachment"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

const (
	// maxEventContent keeps an event under 60 KiB with what the homeserver adds (ids, hashes, signatures, up to 20
	// predecessors); above 65 536 bytes it would refuse it.
	maxEventContent = 58 << 10
	maxTopicText    = 1024     // bytes of a topic in "dev.gatepost"
	maxValue        = 1024     // bytes of one value
	maxValues       = 16 << 10 // bytes of all values and their names
	maxKey          = 255      // bytes of a reaction
	maxMentions     = 50       //
	maxName         = 200      // bytes of a file name
	cutNote         = " … [cut]"
)

// mark is "dev.gatepost" of every content: who said it about what, and the id by which Find knows it again.
type mark struct {
	V      int               `json:"v"`
	ID     string            `json:"id"`
	Device ids.DeviceID      `json:"device,omitempty"`
	Topic  string            `json:"topic,omitempty"`
	Class  string            `json:"class,omitempty"`
	Values map[string]string `json:"values,omitempty"`
}

// eventContent is the content of what we send. Fields are in the order that reads best; homeservers sort them anyway.
type eventContent struct {
	MsgType   string      `json:"msgtype,omitempty"`
	Body      *string     `json:"body,omitempty"`
	Format    string      `json:"format,omitempty"`
	HTML      string      `json:"formatted_body,omitempty"`
	URL       string      `json:"url,omitempty"`
	File      *sealedFile `json:"file,omitempty"`
	FileName  string      `json:"filename,omitempty"`
	Info      *mediaInfo  `json:"info,omitempty"`
	RelatesTo *relation   `json:"m.relates_to,omitempty"`
	Mentions  mentions    `json:"m.mentions"`
	New       *newContent `json:"m.new_content,omitempty"`
	Gatepost  mark        `json:"dev.gatepost"`
	Voice     *struct{}   `json:"org.matrix.msc3245.voice,omitempty"`
	Audio     *voice      `json:"org.matrix.msc1767.audio,omitempty"`
}

// newContent is what an edited event says now (Client-Server API, "Event replacements").
type newContent struct {
	MsgType  string   `json:"msgtype"`
	Body     string   `json:"body"`
	Format   string   `json:"format,omitempty"`
	HTML     string   `json:"formatted_body,omitempty"`
	Mentions mentions `json:"m.mentions"`
	Gatepost mark     `json:"dev.gatepost"`
}

// sealedFile is encrypted media (Client-Server API, "Sending encrypted attachments").
type sealedFile struct {
	attachment.EncryptedFile
	URL string `json:"url"`
}

// placed says where the media of a record was put: in the clear, or encrypted.
type placed struct {
	mxc  string
	file *sealedFile
}

type mediaInfo struct {
	MIME   string `json:"mimetype"`
	Size   int    `json:"size"` // bytes
	Width  int    `json:"w,omitempty"`
	Height int    `json:"h,omitempty"`
	Length int64  `json:"duration,omitempty"` // milliseconds
}

// voice marks sound as a voice message (MSC3245), with what clients show before they have it (MSC1767).
type voice struct {
	Length int64 `json:"duration"` // milliseconds
}

type relation struct {
	Type    string      `json:"rel_type,omitempty"`
	Event   ids.EventID `json:"event_id,omitempty"`
	Key     string      `json:"key,omitempty"`
	ReplyTo *replyTo    `json:"m.in_reply_to,omitempty"`
}

type replyTo struct {
	Event ids.EventID `json:"event_id"`
}

type mentions struct {
	Users []ids.UserID `json:"user_ids,omitempty"`
}

// redaction is what a redaction carries: its id, for those who read the raw event. Homeservers may drop it.
type redaction struct {
	Gatepost mark `json:"dev.gatepost"`
}

func markOf(r lane.Record) mark {
	return mark{V: 1, ID: r.ID, Device: r.Device, Topic: cut(text(r.Topic), maxTopicText), Class: className(r.Class), Values: values(r.Post.Values)}
}

func className(c lane.Class) string {
	switch c {
	case lane.Telemetry:
		return "telemetry"
	case lane.State:
		return "state"
	case lane.Event:
		return "event"
	case lane.Alarm:
		return "alarm"
	default:
		return ""
	}
}

// values keeps what fits, in the order of the names, so that the same record makes the same content.
func values(in map[string]string) map[string]string {
	names := make([]string, 0, len(in))
	for name := range in {
		names = append(names, name)
	}
	sort.Strings(names)
	out := map[string]string{}
	size := 0
	for _, name := range names {
		n, v := cut(text(name), maxName), cut(text(in[name]), maxValue)
		if size += len(n) + len(v); size > maxValues {
			break
		}
		out[n] = v
	}
	return out
}

// contentOf is the event that r becomes: its type and its content of at most limit bytes.
func contentOf(r lane.Record, at placed, limit int) (typ string, content []byte, err error) {
	p := r.Post
	c := eventContent{Gatepost: markOf(r)}
	if p.Kind == lane.Reaction {
		c.RelatesTo = &relation{Type: "m.annotation", Event: p.RelatesTo, Key: cut(text(p.Text), maxKey)}
		content, err = encode(c)
		return "m.reaction", content, err
	}

	if p.Kind == lane.Call {
		content, err = callContent(p, c.Gatepost)
		return p.Name, content, err
	}

	body := text(p.Text)
	c.Body = &body
	if p.HTML != "" {
		c.Format, c.HTML = "org.matrix.custom.html", text(p.HTML)
	}
	if p.RelatesTo != "" {
		c.RelatesTo = &relation{ReplyTo: &replyTo{p.RelatesTo}}
	}
	c.Mentions.Users = p.Mentions[:min(len(p.Mentions), maxMentions)]
	switch p.Kind {
	case lane.Text:
		c.MsgType = "m.text"
	case lane.Notice:
		c.MsgType = "m.notice"
	case lane.Media:
		kind := mediaType(p.MIME)
		c.MsgType, c.URL, c.File, c.FileName = messageType(kind), at.mxc, at.file, fileName(p.Name, kind)
		c.Info = &mediaInfo{MIME: kind, Size: len(p.Data), Width: max(p.Width, 0), Height: max(p.Height, 0)}
		if body == "" {
			body = c.FileName
		}
		if ms := p.Voice.Milliseconds(); ms > 0 {
			c.Info.Length, c.Voice, c.Audio = ms, &struct{}{}, &voice{ms}
		}
	default:
		return "", nil, fmt.Errorf("no event for a post of kind %q", p.Kind)
	}
	if p.Replaces != "" && p.Kind != lane.Media {
		c.RelatesTo = &relation{Type: "m.replace", Event: p.Replaces}
		c.New = &newContent{MsgType: c.MsgType, Format: c.Format, Mentions: c.Mentions, Gatepost: c.Gatepost}
		limit /= 2 // everything is said twice
	}
	content, err = fit(c, limit)
	return "m.room.message", content, err
}

// callContent adds our mark to the content of a call's event, which is made elsewhere.
func callContent(p lane.Post, m mark) ([]byte, error) {
	var o map[string]json.RawMessage
	if err := json.Unmarshal([]byte(p.Text), &o); err != nil || o == nil || !strings.HasPrefix(p.Name, "m.call.") {
		return nil, fmt.Errorf("no event of a call: %q", p.Name)
	}
	raw, err := encode(m)
	if err != nil {
		return nil, err
	}
	o["dev.gatepost"] = raw
	if raw, err = encode(o); err == nil && len(raw) > maxEventContent {
		err = fmt.Errorf("%s has %d bytes; an event may have %d", p.Name, len(raw), maxEventContent)
	}
	return raw, err
}

// fit encodes c, and cuts its body with a note where it is larger than limit: first goes the HTML, which says the same.
func fit(c eventContent, limit int) ([]byte, error) {
	raw, err := encode(c)
	if err != nil || len(raw) <= limit {
		return edited(c, raw, err)
	}
	c.Format, c.HTML = "", ""
	if raw, err = encode(c); err != nil || len(raw) <= limit {
		return edited(c, raw, err)
	}
	room := limit - (len(raw) - jsonSize(*c.Body)) - len(cutNote)
	if room < 0 && c.Gatepost.Values != nil { // control characters take six bytes each
		c.Gatepost.Values = nil
		return fit(c, limit)
	}
	if room < 0 {
		return nil, fmt.Errorf("%d bytes besides the body: too large for an event", limit-room)
	}
	body := jsonCut(*c.Body, room) + cutNote
	c.Body = &body
	raw, err = encode(c)
	return edited(c, raw, err)
}

// edited is c once more when it is an edit: with what it says as the new content, and as a star and the text for clients
// that do not know edits.
func edited(c eventContent, raw []byte, err error) ([]byte, error) {
	if err != nil || c.New == nil {
		return raw, err
	}
	n := *c.New
	n.Body, n.Format, n.HTML, n.Gatepost = *c.Body, c.Format, c.HTML, c.Gatepost
	c.New = &n
	body := "* " + *c.Body
	c.Body = &body
	if c.HTML != "" {
		c.HTML = "* " + c.HTML
	}
	return encode(c)
}

// jsonSize is the bytes that encode spends on s, without its quotes.
func jsonSize(s string) int {
	n := 0
	for _, r := range s {
		n += runeSize(r)
	}
	return n
}

// jsonCut is the longest beginning of s on which encode spends at most n bytes.
func jsonCut(s string, n int) string {
	for i, r := range s {
		if n -= runeSize(r); n < 0 {
			return s[:i]
		}
	}
	return s
}

func runeSize(r rune) int {
	switch {
	case r == '"' || r == '\\' || r == '\n' || r == '\r' || r == '\t' || r == '\b' || r == '\f':
		return 2
	case r < ' ' || r == '\u2028' || r == '\u2029':
		return 6
	default:
		return utf8.RuneLen(r)
	}
}

// text makes s fit for an event: valid UTF-8 without NUL.
func text(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "�"), "\x00", "�")
}

// mediaType is a media type in its plain form, or the one that says nothing.
func mediaType(s string) string {
	t, _, err := mime.ParseMediaType(s)
	if err != nil || !strings.Contains(t, "/") || len(t) > 100 {
		return "application/octet-stream"
	}
	return t
}

// messageType is the msgtype by which clients show a media type. Images are those that every client decodes and none runs.
func messageType(mediaType string) string {
	switch mediaType {
	case "image/jpeg", "image/png", "image/webp", "image/gif":
		return "m.image"
	}
	switch family, _, _ := strings.Cut(mediaType, "/"); family {
	case "audio":
		return "m.audio"
	case "video":
		return "m.video"
	default:
		return "m.file"
	}
}

// fileName is a name without folders and controls.
func fileName(name, mediaType string) string {
	name = strings.TrimSpace(clean(name, maxName))
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	if name != "" && name != "." && name != ".." {
		return name
	}
	switch mediaType {
	case "image/jpeg":
		return "image.jpg"
	case "image/png":
		return "image.png"
	case "image/webp":
		return "image.webp"
	case "image/gif":
		return "image.gif"
	default:
		return "file"
	}
}

// contentID is "dev.gatepost".id of an event's content.
func contentID(content json.RawMessage) string {
	var o object
	if json.Unmarshal(content, &o) != nil {
		return ""
	}
	return o.object("dev.gatepost").text("id")
}
