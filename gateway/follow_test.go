package gateway

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/gatepost/gatepost/mqtt/topic"
)

func TestParked(t *testing.T) {
	filter := func(s string) topic.Filter {
		f, err := topic.ParseFilter(s)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	p := newParked()
	put := func(name, payload string, at int) {
		p.put(topic.Message{Topic: name, Payload: []byte(payload), Time: noon.Add(time.Duration(at) * time.Second)})
	}
	put("a/b", "old", 1)
	put("a/b", "new", 3)
	put("a/c", "gone", 2)
	put("a/c", "", 4)
	put("b/x/state", "1", 2)
	put("c", strings.Repeat("x", maxParkedOne+1), 5)
	got := ""
	for _, m := range p.take([]topic.Filter{filter("a/b"), filter("a/c"), filter("b/+/state"), filter("c")}) {
		got += fmt.Sprintf("%s=%s retained %v;", m.Topic, m.Payload, m.Retained)
	}
	if want := "b/x/state=1 retained true;a/b=new retained true;"; got != want {
		t.Errorf("took %s, want %s", got, want)
	}
	if len(p.by) != 0 || p.bytes != 0 {
		t.Errorf("%d messages, %d bytes left", len(p.by), p.bytes)
	}
	for i := range 3 * maxParked { // one topic comes again and again, the others once
		put("busy", fmt.Sprint(i), i)
		put(fmt.Sprint("other/", i), "x", i)
	}
	if len(p.by) > maxParked || len(p.order) > 2*maxParked || p.bytes > maxParkedBytes {
		t.Errorf("%d messages, %d in order, %d bytes", len(p.by), len(p.order), p.bytes)
	}
	if list := p.take([]topic.Filter{filter("busy")}); len(list) != 1 || string(list[0].Payload) != fmt.Sprint(3*maxParked-1) {
		t.Errorf("the latest of a busy topic is %v", list)
	}
}
