package arch

import (
	"net/url"
	"path"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	link    = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	heading = regexp.MustCompile(`^#{1,6} +(.+?)\s*$`)
	span    = regexp.MustCompile("`[^`]*`")
)

// TestLinksLeadSomewhere follows every relative link of every document to its file and its heading.
func TestLinksLeadSomewhere(t *testing.T) {
	exists := map[string]bool{".": true}
	anchors := map[string]map[string]bool{}
	var docs []file
	for _, f := range files(t) {
		exists[f.path] = true
		for d := path.Dir(f.path); d != "."; d = path.Dir(d) {
			exists[d] = true
		}
		if strings.HasSuffix(f.path, ".md") {
			docs = append(docs, f)
			anchors[f.path] = headings(string(f.text))
		}
	}
	for _, f := range docs {
		for _, target := range links(string(f.text)) {
			u, err := url.Parse(target)
			if err != nil {
				t.Errorf("%s: link %q: %v", f.path, target, err)
				continue
			}
			if u.IsAbs() {
				continue
			}
			to := f.path
			if u.Path != "" {
				to = path.Join(path.Dir(f.path), u.Path)
			}
			if !exists[to] {
				t.Errorf("%s: link %q leads to nothing", f.path, target)
				continue
			}
			if u.Fragment != "" && !anchors[to][u.Fragment] {
				t.Errorf("%s: link %q: %s has no such heading", f.path, target, to)
			}
		}
	}
}

// prose gives the lines of a document that are not code.
func prose(text string) []string {
	var out []string
	code := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			code = !code
			continue
		}
		if !code {
			out = append(out, line)
		}
	}
	return out
}

func links(text string) []string {
	var out []string
	for _, line := range prose(text) {
		for _, m := range link.FindAllStringSubmatch(span.ReplaceAllString(line, ""), -1) {
			out = append(out, m[1])
		}
	}
	return out
}

// headings gives the anchors that hosting sites make of a document's headings.
func headings(text string) map[string]bool {
	out := map[string]bool{}
	for _, line := range prose(text) {
		m := heading.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		var b strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case r == ' ':
				b.WriteByte('-')
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				b.WriteRune(r)
			}
		}
		out[b.String()] = true
	}
	return out
}

func TestLinksAreSeen(t *testing.T) {
	text := "# A `b` title!\n[x](docs/y.md#z) `[no](code)` [w](https://example.org)\n```\n[no](fence)\n```\n"
	got := links(text)
	if len(got) != 2 || got[0] != "docs/y.md#z" {
		t.Errorf("links: %q", got)
	}
	if h := headings(text); !h["a-b-title"] {
		t.Errorf("headings: %v", h)
	}
}
