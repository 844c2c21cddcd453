package gateway

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatepost/gatepost/internal/ids"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// photo is a picture that differs with its width.
func photo(width int) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, width, 1))); err != nil {
		panic(err)
	}
	return b.Bytes()
}

var camera = RuleSpec{Topic: "porch/{reading}", Device: "porch", Call: &CallSpec{
	Prefix: "porch", Picture: "porch/snapshot", Ring: &RingSpec{Topic: "porch/button", People: []ids.UserID{"@alice:x"}},
}}

// muted takes what happens in calls and does nothing.
type muted struct{ Calls }

func (muted) Ring(ids.DeviceID)               {}
func (muted) Said(ids.DeviceID, []byte)       {}
func (muted) BatchDone(context.Context) error { return nil }

func inCallWorld(t *testing.T, rule RuleSpec, f func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.change = func(c *Config) { c.Calls = muted{} }
		w.start([]RuleSpec{rule})
		w.publish("porch/event", "here")
		f(w)
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestTheLatestSnapshotCounts(t *testing.T) {
	inCallWorld(t, camera, func(w *world) {
		snap := func() (Picture, time.Duration, error) {
			began := time.Now()
			p, err := w.g.Snapshot(w.t.Context(), "porch")
			return p, time.Since(began), err
		}
		if _, took, err := snap(); !errors.Is(err, ErrNoPicture) || took != pictureWait {
			t.Errorf("without a picture: %v after %v", err, took)
		}
		w.publish("porch/snapshot", string(photo(1)))
		w.publish("porch/snapshot", string(photo(2)))
		w.publish("porch/snapshot", "no picture")
		w.publish("porch/snapshot", string(photo(3))+strings.Repeat(" ", maxPicture))
		if p, took, err := snap(); err != nil || took != 0 || !bytes.Equal(p.Data, photo(2)) {
			t.Errorf("%d bytes, %v after %v", len(p.Data), err, took)
		}
		time.Sleep(time.Minute) // the camera takes one a little after the bell
		go func() {
			time.Sleep(2 * time.Second)
			_ = w.g.Deliver(context.Background(), topic.Message{Topic: "porch/snapshot", Payload: photo(4), Time: time.Now()})
		}()
		if p, took, err := snap(); err != nil || took != 2*time.Second || !bytes.Equal(p.Data, photo(4)) {
			t.Errorf("%d bytes, %v after %v", len(p.Data), err, took)
		}
		time.Sleep(time.Minute) // or not
		p, took, err := snap()
		if err != nil || took != pictureWait || !bytes.Equal(p.Data, photo(4)) {
			t.Errorf("%d bytes, %v after %v", len(p.Data), err, took)
		}
		from := len(w.matrix.said())
		for _, show := range []struct {
			pic  Picture
			text string
		}{{p, ""}, {p, "Who rang."}, {Picture{p.Data, time.Now()}, ""}, {Picture{Data: p.Data}, ""}} {
			if err := w.g.Show("porch", show.pic, show.text); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}
		w.want(from, "!1 @gatepost_porch:x media The latest picture, of "+p.At.UTC().Format("Jan 2 15:04:05")+".", "!1 @gatepost_porch:x media Who rang.",
			"!1 @gatepost_porch:x media snapshot.png", "!1 @gatepost_porch:x media An earlier picture.")
		w.send(topic.Message{Topic: "porch/snapshot", Payload: photo(5), Retained: true, Time: time.Now()})
		if p, _, err := snap(); err != nil || !p.At.IsZero() || !bytes.Equal(p.Data, photo(5)) {
			t.Errorf("a retained one: %v, %v", p.At, err)
		}
		w.send(topic.Message{Topic: "porch/snapshot", Retained: true, Time: time.Now()})
		if _, _, err := snap(); !errors.Is(err, ErrNoPicture) {
			t.Errorf("after it was taken away: %v", err)
		}
	})
}

// Only the rings of devices put pictures in rooms.
func TestASnapshotIsNotPosted(t *testing.T) {
	inCallWorld(t, camera, func(w *world) {
		from := len(w.matrix.said())
		w.publish("porch/snapshot", string(photo(1)))
		w.want(from)
	})
}

func TestPicturesAreBounded(t *testing.T) {
	p, data := newPictures(), make([]byte, maxPicture)
	for i := range 20 {
		p.put(ids.DeviceID(fmt.Sprint(i)), Picture{data, time.Unix(int64(i), 0)})
	}
	if p.size > maxPictures || len(p.latest) != maxPictures/maxPicture {
		t.Errorf("%d pictures, %d bytes", len(p.latest), p.size)
	}
	if pic, _ := p.get("19"); pic.Data == nil {
		t.Error("the newest went")
	}
	for i := range 20 {
		p.put(ids.DeviceID(fmt.Sprint(i)), Picture{})
	}
	if p.size != 0 || len(p.latest) != 0 {
		t.Errorf("%d pictures, %d bytes are left", len(p.latest), p.size)
	}
}

func TestFetchPicture(t *testing.T) {
	stuck := make(chan struct{})
	asked := make(chan string, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		switch r.URL.Path {
		case "/photo":
			_, _ = w.Write(photo(7))
		case "/text":
			w.Header().Set("Content-Type", "image/png")
			_, _ = io.WriteString(w, "no picture")
		case "/away":
			http.Redirect(w, r, "/photo", http.StatusFound)
		case "/endless":
			_, _ = w.Write(photo(7))
			for chunk := make([]byte, 1<<20); ; {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		case "/slow":
			<-stuck
		default:
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	defer close(stuck)
	if data, err := fetchPicture(t.Context(), s.URL+"/photo"); err != nil || !bytes.Equal(data, photo(7)) {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	<-asked
	for path, want := range map[string]string{"/text": "not a picture", "/away": "answers 302", "/endless": "not a picture", "/none": "answers 404"} {
		_, err := fetchPicture(t.Context(), s.URL+path)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), s.URL) {
			t.Errorf("%s: %v", path, err)
		}
		if got := <-asked; got != path || len(asked) > 0 {
			t.Errorf("%s: something else was fetched too", path)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-asked; cancel() }()
	if _, err := fetchPicture(ctx, s.URL+"/slow?password=opensesame"); !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "sesame") {
		t.Errorf("a camera that does not answer: %v", err)
	}
	secret := base64.StdEncoding.EncodeToString([]byte("opensesame"))
	if _, err := fetchPicture(t.Context(), "http://127.0.0.1:1/?token="+secret); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("a camera that is away: %v", err)
	}
}
