//go:build e2e || interop

package test

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gatepost/gatepost/test/device"
	"github.com/gatepost/gatepost/test/harness"
)

// A ring shows who rings, from the device's own pictures and from a camera's address, and shows it again when nobody came.
func TestARingShowsWhoRang(t *testing.T) {
	var photo bytes.Buffer
	if err := png.Encode(&photo, image.NewGray(image.Rect(0, 0, 12, 8))); err != nil {
		t.Fatal(err)
	}
	camera := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(photo.Bytes()) }))
	t.Cleanup(camera.Close)
	for name, snapshot := range map[string]string{"topic": "{topic: porch/camera}", "url": fmt.Sprintf("{url: %q}", camera.URL+"/now.png")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := settle(t, "appservice", bell+"  snapshot: "+snapshot+"\n")
			d := p.intercom()
			p.must(d.Publish(p.ctx, device.Message{Topic: "porch/camera", Payload: photo.Bytes(), QoS: 1}))
			p.publish(d.Client, "porch/button", "pressed")
			s := d.hears("ring")
			picture := func(text string) func(harness.Event) bool {
				return func(m harness.Event) bool { return m.Content.MsgType == "m.image" && m.Content.Body == text }
			}
			p.message(p.alice, "Front door", "who rings", picture("snapshot.png"))
			d.says(`{"v":1,"type":"invite","call_id":%q,"offer":{"type":"offer","sdp":"v=0"}}`, s.Call)
			d.hears("hangup")
			p.message(p.alice, "Front door", "that nobody answered", body("Rang; nobody answered."))
			p.message(p.alice, "Front door", "who rang", picture("Who rang."))
		})
	}
}
