package convention

import (
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

func TestReadCapture(t *testing.T) {
	var got []topic.Message
	err := ReadCapture(strings.NewReader(`{"topic":"a/b","payload":"21.5","retain":true,"time":"2026-01-02T15:04:05Z"}

a/c hello world
a/empty
{"topic":"x","payload":{"a": 1}}
{"topic":"x","payload_base64":"AAE="}
{"tst":"2026-01-02T15:04:05.250000Z+0100","topic":"x","qos":0,"retain":1,"payloadlen":2,"payload":"ok"}
{"topic":"x"}
`+"windows line\r\nLiving room/lamp {\"a\": 1}\na/list [1, 2]\na/b not {json\n"), func(m topic.Message) error { got = append(got, m); return nil })
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		topic, payload string
		retained       bool
	}{
		{"a/b", "21.5", true},
		{"a/c", "hello world", false},
		{"a/empty", "", false},
		{"x", `{"a": 1}`, false},
		{"x", "\x00\x01", false},
		{"x", "ok", true},
		{"x", "", false},
		{"windows", "line", false},
		{"Living room/lamp", `{"a": 1}`, false},
		{"a/list", "[1, 2]", false},
		{"a/b", "not {json", false},
	}
	if len(got) != len(want) {
		t.Fatalf("%d messages, want %d", len(got), len(want))
	}
	for i, w := range want {
		if m := got[i]; m.Topic != w.topic || string(m.Payload) != w.payload || m.Retained != w.retained {
			t.Errorf("%d: %+v", i, m)
		}
	}
	if at := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC); !got[0].Time.Equal(at) || !got[5].Time.Equal(at.Add(250*time.Millisecond-time.Hour)) || !got[1].Time.IsZero() {
		t.Errorf("times %v %v", got[0].Time, got[5].Time)
	}
	for _, bad := range []string{"{", `{"payload":"x"}`, `{"topic":"a/#"}`, " x", `{"topic":"a","payload":"x","payload_base64":"AA=="}`, `{"topic":"a","time":"noon"}`, `{"topic":"a","payload_base64":"!"}`} {
		if err := ReadCapture(strings.NewReader("ok 1\n"+bad+"\n"), func(topic.Message) error { return nil }); err == nil || !strings.HasPrefix(err.Error(), "line 2: ") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
