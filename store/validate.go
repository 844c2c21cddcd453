package store

import (
	"fmt"
	"math"
	"strings"

	"github.com/gatepost/gatepost/gateway/lane"
)

// Limits of what a Change may hold, in bytes. A key longer than that must be hashed by the caller.
const (
	maxSpace = 255
	maxKey   = 16 << 10
	maxLane  = 1 << 10
	maxText  = 1 << 20 // of all the strings of a record
)

// checkChange says whether c can be stored at all, and how many bytes it adds at most. A record that is larger than its
// lane will become a gap marker and adds little.
func (s *Store) checkChange(c *lane.Change) (added int, err error) {
	for _, item := range c.Put {
		if err := checkKey(item.Space, item.Key); err != nil {
			return 0, err
		}
		if int64(len(item.Value)) > s.opts.MaxSize/4 {
			return 0, fmt.Errorf("%w: value of %d bytes", ErrInvalid, len(item.Value))
		}
		if item.Value != nil {
			added += len(item.Space) + len(item.Key) + len(item.Value) + envelopeBytes + 1
		}
	}
	for i := range c.Append {
		n, err := checkRecord(&c.Append[i])
		if err != nil {
			return 0, fmt.Errorf("%w: append: %w", ErrInvalid, err)
		}
		if !s.bounds.Fits(c.Append[i].Class, int64(n)) {
			n = 1 << 10
		}
		added += n
	}
	for i := range c.Bury {
		if _, err := checkRecord(&c.Bury[i].Record); err != nil {
			return 0, fmt.Errorf("%w: bury: %w", ErrInvalid, err)
		}
	}
	return added, nil
}

func checkKey(space, key string) error {
	switch {
	case space == "" || len(space) > maxSpace || strings.IndexByte(space, 0) >= 0:
		return fmt.Errorf("%w: space %q", ErrInvalid, space[:min(len(space), 40)])
	case len(key) > maxKey:
		return fmt.Errorf("%w: key of %d bytes, at most %d", ErrInvalid, len(key), maxKey)
	}
	return nil
}

// checkRecord says whether r can be stored, and how many bytes that takes, within a few.
func checkRecord(r *lane.Record) (size int, err error) {
	switch {
	case r.Lane == "" || len(r.Lane) > maxLane:
		return 0, fmt.Errorf("lane key of %d bytes", len(r.Lane))
	case r.Class < lane.Telemetry || r.Class > lane.Alarm:
		return 0, fmt.Errorf("class %d", r.Class)
	case r.Digest != nil && (r.Digest.N < 1 || r.Digest.N > math.MaxInt32 || r.Digest.Other < 0 || r.Digest.Other > r.Digest.N):
		return 0, fmt.Errorf("digest of %d messages, %d of them without a number", r.Digest.N, r.Digest.Other)
	case r.Gap != nil && (r.Gap.Count() < 1 || r.Gap.Count() > math.MaxInt32):
		return 0, fmt.Errorf("gap of %d messages", r.Gap.Count())
	case len(r.Post.Data) > math.MaxInt32:
		return 0, fmt.Errorf("media of %d bytes", len(r.Post.Data))
	}
	p := &r.Post
	text := len(r.Lane) + len(r.ID) + len(r.Device) + len(r.Key) + len(r.Topic) + len(p.Kind) + len(p.Text) + len(p.HTML) +
		len(p.RelatesTo) + len(p.Replaces) + len(p.MIME) + len(p.Name) + len(p.Command) + len(p.State)
	for k, v := range p.Values {
		text += len(k) + len(v) + 4
	}
	for _, m := range p.Mentions {
		text += len(m) + 2
	}
	if text > maxText {
		return 0, fmt.Errorf("%d bytes of text, at most %d", text, maxText)
	}
	return text + len(p.Data) + 128, nil
}
