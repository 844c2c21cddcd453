package broker

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
)

func someMessages() []*message {
	return []*message{
		{topic: "a", payload: []byte{}},
		{topic: "a/b", payload: []byte("payload"), qos: 2, retain: true, expires: 1_800_000_000},
		{topic: "a", payload: []byte{0}, qos: 1, props: &properties{
			formatted: true, format: 1, contentType: "text/plain", responseTopic: "r", correlation: []byte{1, 2},
			user: []packets.UserProperty{{Key: "k", Val: "v"}, {Key: "k", Val: ""}},
		}},
	}
}

func TestMessageRow(t *testing.T) {
	t.Parallel()
	for _, m := range someMessages() {
		b := appendMessage(nil, m)
		got, err := decodeMessage(b)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%+v became %+v, %v", m, got, err)
		}
		if len(b) > m.size() {
			t.Errorf("%+v: %d bytes, size says %d", m, len(b), m.size())
		}
		q := queued{qos: 1, retain: true, ids: []int{1, 1 << 20}, m: m}
		got2, err := decodeQueued(appendQueued(nil, &q), true)
		if err != nil || !reflect.DeepEqual(got2.m, m) || got2.qos != 1 || !got2.retain || !reflect.DeepEqual(got2.ids, q.ids) {
			t.Errorf("%+v became %+v, %v", q, got2, err)
		}
		w := &will{m: m, lives: 7, delay: 3 * time.Second, serial: 1 << 60}
		got3, err := decodeWill(appendWill(nil, w))
		if err != nil || !reflect.DeepEqual(got3.m, m) || got3.lives != 7 || got3.delay != w.delay || got3.serial != w.serial {
			t.Errorf("%+v became %+v, %v", w, got3, err)
		}
	}
	ref := queued{qos: 2, body: 77, size: 1 << 20, expires: 9, ids: []int{268435455}}
	if got, err := decodeQueued(appendQueued(nil, &ref), true); err != nil || !reflect.DeepEqual(got, ref) {
		t.Errorf("%+v became %+v, %v", ref, got, err)
	}
	if n := len(appendQueued(nil, &ref)); n > smallRow {
		t.Errorf("a reference takes %d bytes", n)
	}
	r := sessionRecord{number: 1 << 40, version: 5, expiry: time.Hour, connected: true, left: time.Unix(0, 1_800_000_000_000_000_000), sent: 5, last: 9}
	if got, err := decodeSessionRecord(r.append(nil)); err != nil || got != r {
		t.Errorf("%+v became %+v, %v", r, got, err)
	}
}

func TestOptionsRow(t *testing.T) {
	t.Parallel()
	s := newSession("\x00x", 1)
	for _, sub := range []*subscription{
		{session: s, filter: "a/#", plain: "a/#", qos: 2, noLocal: true, handling: 2, id: 268435455},
		{session: s, filter: "$share/g/a", group: "g", plain: "a", asPublished: true, handling: 1},
	} {
		got, err := newSubscription(s, sub.filter, sub.options())
		if err != nil || *got != *sub {
			t.Errorf("%+v became %+v, %v", sub, got, err)
		}
	}
}

// Rows of the Store have passed a checksum, but it may have been another program that wrote them.
func FuzzRows(f *testing.F) {
	for _, m := range someMessages() {
		f.Add(appendMessage(nil, m))
		f.Add(appendQueued(nil, &queued{qos: 1, ids: []int{3}, m: m}))
		f.Add(appendWill(nil, &will{m: m, serial: 3}))
	}
	f.Add(appendQueued(nil, &queued{body: 3, size: 4}))
	f.Add(appendQueued(nil, &queued{released: true, qos: 2}))
	f.Add(sessionRecord{number: 3, version: 4, left: time.Unix(1, 0)}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeMessage(b); err == nil {
			again := appendMessage(nil, m)
			if m2, err := decodeMessage(again); err != nil || !reflect.DeepEqual(m, m2) {
				t.Errorf("%x is %+v, then %+v, %v", b, m, m2, err)
			}
		}
		if q, err := decodeQueued(b, true); err == nil && (q.m != nil) == (q.released || q.body != 0) {
			t.Errorf("%x: %+v", b, q)
		}
		_, _ = decodeQueued(b, false)
		_, _ = decodeWill(b)
		if r, err := decodeSessionRecord(b); err == nil {
			if r2, err := decodeSessionRecord(r.append(nil)); err != nil || r2 != r {
				t.Errorf("%x is %+v, then %+v, %v", b, r, r2, err)
			}
		}
		_, _ = newSubscription(nil, string(b), bytes.Repeat([]byte{0xFF}, 5))
	})
}

func TestReadBody(t *testing.T) {
	t.Parallel()
	for _, length := range []int{0, 1, firstBody, firstBody + 1, 3*firstBody + 7, 1 << 20} {
		in := make([]byte, length+1)
		for i := range in {
			in[i] = byte(i % 251)
		}
		r := bytes.NewReader(in)
		if got, err := readBody(r, length); err != nil || !bytes.Equal(got, in[:length]) || r.Len() != 1 {
			t.Errorf("%d bytes: %d, %v", length, len(got), err)
		}
		if _, err := readBody(bytes.NewReader(in[:length/2]), length); length > 1 && err == nil {
			t.Errorf("half of %d bytes: no error", length)
		}
	}
}
