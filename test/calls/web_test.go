//go:build linux && interop

package calls

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"

	"github.com/gatepost/gatepost/test/harness"
)

// webSite serves the example in examples/intercom-web and returns where.
func webSite(t *testing.T) string {
	t.Helper()
	const files = binaries + "/intercom-web"
	if _, err := os.Stat(files + "/installed"); err != nil {
		absent(t, "the example page (make bin/intercom-web/installed)")
	}
	site := httptest.NewServer(http.FileServer(http.Dir(files)))
	t.Cleanup(site.Close)
	return site.URL
}

// webIntercom is the example page, connected to the broker. Its microphone and camera are Chromium's own: a beep a second, and a
// picture that changes.
func webIntercom(t *testing.T, b *browser, site, broker string) *phone {
	t.Helper()
	page := b.tab(t, site+"/index.html")
	page.until("not connected")
	page.run(fmt.Sprintf("document.getElementById('broker').value = %q", broker))
	page.press("connect button")
	page.until("ready")
	return page
}

func (p *phone) run(expression string) json.RawMessage {
	p.t.Helper()
	value, err := p.evaluate(expression)
	must(p.t, err)
	return value
}

// press presses a button of the page.
func (p *phone) press(selector string) {
	p.t.Helper()
	p.run(fmt.Sprintf("document.querySelector(%q).click()", "#"+selector))
}

// until waits until the page shows a state.
func (p *phone) until(state string) {
	p.t.Helper()
	var last json.RawMessage
	defer func() {
		if p.t.Failed() {
			p.t.Logf("the page showed %s and wrote %s", last, p.run("document.getElementById('log')?.innerText"))
		}
	}()
	until(p.t, "the page to show "+state, func() bool {
		last = p.run("document.getElementById('state')?.textContent ?? ''")
		return string(last) == fmt.Sprintf("%q", state)
	})
}

// receives waits until a picture comes to the page, and sound.
func (p *phone) receives() {
	p.t.Helper()
	until(p.t, "picture and sound at the page", func() bool {
		return string(p.run(`(() => {
			const v = document.getElementById('remote');
			return v.videoWidth > 0 && v.srcObject?.getAudioTracks().length === 1 && v.currentTime > 0;
		})()`)) == "true"
	})
}

// The device is the example page, the person's client matrix-js-sdk.
func TestWebIntercom(t *testing.T) {
	site := webSite(t)
	w := setting{origins: []string{site}}.begin(t)
	b := newBrowser(t)
	alice := w.phone(b, "alice")
	page := webIntercom(t, b, site, w.web)
	room := w.chat(alice)
	talk := func(t *testing.T) {
		t.Helper()
		alice.sees("the call connected, with sound and picture of the page", func(s seen) bool { return s.State == "connected" && s.Hertz > 0 && s.Width > 0 })
		page.until("connected")
		page.receives()
	}
	over := func(t *testing.T) {
		t.Helper()
		alice.sees("the end", func(s seen) bool { return s.State == "ended" })
		page.until("ready")
	}
	good := 0
	for range runs {
		ok := t.Run("the person calls", func(t *testing.T) {
			alice.t, page.t = t, t
			alice.do("place", map[string]any{"room": room, "video": true}, nil)
			page.until(w.user("alice") + " calls")
			page.press("answer")
			talk(t)
			alice.do("hangup", nil, nil)
			over(t)
		})
		ok = ok && t.Run("the page rings", func(t *testing.T) {
			alice.t, page.t = t, t
			before := alice.report().Incoming
			page.press("ring")
			alice.rings(before + 1)
			alice.do("answer", map[string]any{"video": true}, nil)
			talk(t)
			page.press("hangup")
			over(t)
		})
		if !ok {
			break
		}
		good++
	}
	harness.Equal(t, "js-sdk in Chromium, the example page as the device: calls out and in", good, runs, "runs")
}
