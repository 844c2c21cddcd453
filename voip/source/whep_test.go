package source

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"github.com/gatepost/gatepost/voip/media"
)

func TestParseWHEP(t *testing.T) {
	for text, ok := range map[string]bool{
		"http://camera:1984/api/webrtc?src=door": true,
		"https://u:p@[fd00::1]/whep":             true,
		"rtsp://camera/":                         false,
		"http://":                                false,
		"http://user:secret@/#x":                 false,
		"http://user:secret@camera/%zz":          false,
	} {
		_, err := ParseWHEP(text)
		if ok != (err == nil) || !ok && (!errors.Is(err, ErrAddress) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func whep(t *testing.T, url string, log *logged) media.Source {
	t.Helper()
	w, err := ParseWHEP(url)
	if err != nil {
		t.Fatal(err)
	}
	if log != nil {
		return w.Source(log.logger())
	}
	return w.Source(nil)
}

// TestWHEP is a server that agrees to several codecs, so that the packets must show which it is, and sends its listeners
// on to another path before.
func TestWHEP(t *testing.T) {
	for _, codec := range []media.Codec{media.Opus(), media.PCMA()} {
		t.Run(codec.MimeType, func(t *testing.T) {
			p := newPeer(t, codec)
			ended := make(chan string, 1)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if user, password, _ := r.BasicAuth(); user != "u" || password != "p" {
					t.Errorf("%s came without user and password", r.Method)
				}
				switch r.URL.Path {
				case "/old":
					http.Redirect(w, r, "/whep", http.StatusTemporaryRedirect)
				case "/whep":
					b, err := io.ReadAll(r.Body)
					if err != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/sdp" {
						t.Errorf("%s %s: %v", r.Method, r.Header, err)
					}
					p.add()
					p.remote(webrtc.SDPTypeOffer, string(b))
					w.Header().Set("Location", "/session/1")
					w.WriteHeader(http.StatusCreated)
					_, _ = io.WriteString(w, p.local(p.pc.CreateAnswer(nil)))
				default:
					ended <- r.Method + " " + r.URL.Path
				}
			}))
			t.Cleanup(srv.Close)
			t.Cleanup(func() {
				select {
				case got := <-ended:
					if got != "DELETE /session/1" {
						t.Errorf("the end was %s", got)
					}
				case <-time.After(patience):
					t.Error("the server was not told of the end")
				}
			})
			p.play()
			c := open(t, whep(t, strings.Replace(srv.URL, "http://", "http://u:p@", 1)+"/old", nil))
			c.start()
			p.talks(c, codec)
			p.gone(c)
		})
	}
}

func TestWHEPRefusals(t *testing.T) {
	const secret = "s3cr3t"
	var elsewhere atomic.Int32
	trap := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(trap.Close)
	mux := http.NewServeMux()
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	status := func(path string, code int, location, body string) {
		mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
			if location != "" {
				w.Header().Set("Location", location)
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, body)
		})
	}
	status("/401", 401, "", "")
	status("/404", 404, "", "")
	status("/500", 500, "", "")
	status("/away", 307, trap.URL, "")
	status("/round", 307, "/round", "")
	status("/get", 302, "/ok", "")
	status("/garbage", 201, "", "no description")
	status("/empty", 201, trap.URL+"/session", "v=0\r\n")
	status("/long", 201, "", "v=0\r\n"+strings.Repeat("a=x\r\n", 20000))
	const (
		silent  = "The stream's server does not answer."
		refused = "The stream's server refuses the gateway's user name or password."
		garbage = "The stream's server gives an answer that can't be understood."
	)
	for path, want := range map[string]string{
		"/401": refused, "/404": "The stream's server knows no such stream.", "/500": "The stream's server refuses.",
		"/away": silent, "/round": silent, "/get": silent, "/garbage": garbage, "/empty": garbage, "/long": garbage,
	} {
		t.Run(path[1:], func(t *testing.T) {
			var log logged
			words, text := fails(t, whep(t, strings.Replace(srv.URL, "http://", "http://admin:"+secret+"@", 1)+path+"?token="+secret, &log))
			if words != want {
				t.Errorf("%q (%s), want %q", words, text, want)
			}
			if strings.Contains(text+log.String(), secret) {
				t.Errorf("the password is in %s or %s", text, log.String())
			}
		})
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("the gateway followed a server to another host %d times", n)
	}
	src := whep(t, srv.URL+"/garbage", nil)
	if _, err := src.Open(cancelled()); err == nil {
		t.Error("opened without time")
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzCheckAnswer(f *testing.F) {
	f.Add("v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=candidate:1 1 udp 1 10.0.0.1 5000 typ host\r\na=sendonly\r\n")
	f.Add("v=0\na=candidate:1 1 udp 1 camera.local 5000 typ host\n")
	f.Add("v=0\r\n" + strings.Repeat("a=candidate:1 1 udp 1 10.0.0.1 5000 typ host\r\n", 100))
	permit := permitting(false)
	f.Fuzz(func(t *testing.T, text string) {
		got, err := checkAnswer(text, permit)
		if err != nil {
			return
		}
		n := 0
		for line := range strings.SplitSeq(got, "\r\n") {
			if strings.ContainsAny(line, "\n") {
				t.Errorf("a line in %q", line)
			}
			if value, ok := strings.CutPrefix(line, "a=candidate:"); ok {
				n++
				addr, err := netip.ParseAddr(strings.Fields(value)[4])
				if err != nil || !permit(addr) {
					t.Errorf("a check to %s", value)
				}
			}
		}
		if n > maxCandidates {
			t.Errorf("%d candidates", n)
		}
		directions(got)
		if device, err := forDevice(got); err == nil && strings.Count(device, "a=candidate:") > deviceChecks {
			t.Errorf("%d candidates for a device", strings.Count(device, "a=candidate:"))
		}
	})
}
