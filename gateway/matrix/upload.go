package matrix

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"time"

	"maunium.net/go/mautrix"

	"github.com/gatepost/gatepost/gateway/lane"
	"github.com/gatepost/gatepost/internal/ids"
)

var mxcURI = regexp.MustCompile(`^mxc://[A-Za-z0-9.:\[\]-]{1,230}/[A-Za-z0-9_-]{1,255}$`)

const memoSize = 64

// uploadMemo remembers where the media of records whose event is not sent yet was put, so that a pause (429) between the
// two does not upload again. It forgets the oldest. Safe for concurrent use.
type uploadMemo struct {
	mu    sync.Mutex
	uri   map[string]string
	order []string
}

func (m *uploadMemo) get(record string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.uri[record]
}

func (m *uploadMemo) put(record, uri string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.uri == nil {
		m.uri = map[string]string{}
	}
	if _, ok := m.uri[record]; !ok {
		m.order = append(m.order, record)
	}
	m.uri[record] = uri
	if len(m.order) > memoSize {
		delete(m.uri, m.order[0])
		m.order = append(m.order[:0], m.order[1:]...)
	}
}

// upload puts the media of r on the homeserver and says where. A repeated upload shows nowhere.
func (c *Client) upload(ctx context.Context, user ids.UserID, r lane.Record) (mxc string, err error) {
	if uri := c.uploads.get(r.ID); uri != "" {
		return uri, nil
	}
	kind := mediaType(r.Post.MIME)
	if mxc, err = c.put(ctx, user, append([]byte{}, r.Post.Data...), kind, fileName(r.Post.Name, kind)); err == nil {
		c.uploads.put(r.ID, mxc)
	}
	return mxc, err
}

// Upload puts a small picture on the homeserver, as the bot, and gives its mxc:// address.
func (c *Client) Upload(ctx context.Context, data []byte, mime, name string) (string, error) {
	kind := mediaType(mime)
	mxc, err := c.put(ctx, c.bot, data, kind, fileName(name, kind))
	if err != nil {
		return "", fmt.Errorf("upload: %w", err)
	}
	return mxc, nil
}

// put uploads data, which it keeps.
func (c *Client) put(ctx context.Context, user ids.UserID, data []byte, kind, name string) (mxc string, err error) {
	size, limit := int64(len(data)), c.cfg.MaxUpload
	if a := c.abilities.Load(); a != nil && a.MaxUpload > 0 {
		limit = min(limit, a.MaxUpload)
	}
	if size > limit { // Synapse would cut the connection rather than say so
		return "", lane.Outcome{Verdict: lane.Dead, Code: "M_TOO_LARGE", Reason: fmt.Sprintf("media of %d bytes, the homeserver takes %d", size, limit)}
	}
	var res struct {
		URI string `json:"content_uri"`
	}
	err = c.do(ctx, request{
		endpoint: epUpload, method: http.MethodPost, path: mautrix.MediaURLPath{"v3", "upload"}, as: user,
		query: map[string]string{"filename": name}, raw: data, mime: kind, into: &res,
		timeout: requestTimeout + time.Duration(size/(16<<10))*time.Second, // a slow line has 16 KiB/s
	})
	if err != nil {
		return "", err
	}
	if !mxcURI.MatchString(res.URI) {
		return "", lane.Outcome{Verdict: lane.Retry, Code: "HTTP 200", Reason: "the homeserver gave no address for the media"}
	}
	return res.URI, nil
}
