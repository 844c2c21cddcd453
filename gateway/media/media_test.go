package media

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestKindOf(t *testing.T) {
	mb := bytes.Repeat([]byte("abcdefgh"), 1<<17)
	for _, tc := range []struct {
		name, payload string
		want          Kind
	}{
		{"nothing", "", Empty},
		{"white space", " \r\n", Empty},
		{"integer", "21", Number},
		{"float", "-21.5e3\n", Number},
		{"number with a unit", "21 C", PlainText},
		{"leading zero", "007", PlainText},
		{"infinite", "1e", PlainText},
		{"a very long number", strings.Repeat("1", 100), PlainText},
		{"date", "2026-11-22", PlainText},
		{"on", "ON", Boolean},
		{"false", " False\n", Boolean},
		{"one is a number", "1", Number},
		{"yes is text", "yes", PlainText},
		{"open", "open", PlainText},
		{"object", ` {"a":1} `, JSONObject},
		{"array", "[1]", JSONArray},
		{"half an object", `{"a":`, PlainText},
		{"UTF-8", "Küche ☃", PlainText},
		{"terminal colours", "\x1b[31mred\x1b[0m", PlainText},
		{"bad UTF-8", "a\xffb", Binary},
		{"NUL", "a\x00b", Binary},
		{"object with NUL", "{\x00}", Binary},
		{"html", "<b>x</b>", PlainText},
		{"jpeg", "\xff\xd8\xff\xe0", Image},
		{"png", "\x89PNG\r\n\x1a\n", Image},
		{"gif", "GIF89a", Image},
		{"webp", "RIFF\x00\x00\x00\x00WEBP", Image},
		{"wav", "RIFF\x00\x00\x00\x00WAVE", Audio},
		{"ogg", "OggS", Audio},
		{"mp3", "\xff\xfb\x90\x00", Audio},
		{"aac", "\xff\xf1\x50\x80", Audio},
		{"id3", "ID3\x04\x00", Audio},
		{"mp4", "\x00\x00\x00\x18ftypmp42", Video},
		{"webm", "\x1a\x45\xdf\xa3\x01webm", Video},
		{"riff of something", "RIFF\x00\x00\x00\x00XXXX", Binary},
		{"UTF-16", "\xff\xfea\x00", Binary},
		{"1 MB of text", string(mb), PlainText},
		{"1 MB of an object", "{" + string(mb) + "}", JSONObject},
		{"1 MB of NUL", string(make([]byte, 1<<20)), Binary},
		{"a character across the border of what is looked at", strings.Repeat("a", looked-1) + "☃" + string(mb), PlainText},
	} {
		if got := KindOf([]byte(tc.payload)); got != tc.want {
			t.Errorf("%s: got %v, want %v", tc.name, got, tc.want)
		}
	}
	if !Image.IsMedia() || !Binary.IsMedia() || PlainText.IsMedia() || JSONArray.IsMedia() {
		t.Error("IsMedia")
	}
}

func TestText(t *testing.T) {
	for _, tc := range []struct {
		name, in string
		max      int
		want     string
		cut      bool
	}{
		{"nothing", "", 10, "", false},
		{"plain", "Küche ☃ 👨‍👩‍👧", 20, "Küche ☃ 👨‍👩‍👧", false},
		{"cut", "Küche", 3, "Küc", true},
		{"just fits", "Küche", 5, "Küche", false},
		{"what is removed is not cut", "Küche\x00\x00", 5, "Küche", false},
		{"no room", "a", 0, "", true},
		{"bad UTF-8", "a\xff\xc3b", 10, "a\uFFFD\uFFFDb", false},
		{"NUL", "a\x00b", 10, "ab", false},
		{"controls", "a\x01\x07\x7f\u0080b", 10, "ab", false},
		{"lines", "a\r\nb\rc\u2028d\te", 20, "a\nb\nc\nd\te", false},
		{"colours", "\x1b[1;31mred\x1b[0m \x1bx", 20, "red x", false},
		{"colours without end", "\x1b[" + strings.Repeat("1", 50), 100, "[" + strings.Repeat("1", 50), false},
		{"direction", "a\u202Egnp.exe\u2066b\u2069", 20, "agnp.exeb", false},
		{"byte order mark", "\uFEFFa", 10, "a", false},
		{"noncharacter", "a\uFFFFb", 10, "ab", false},
		{"html stays text", "<b>&", 10, "<b>&", false},
		{"room", "hey @room!", 20, "hey @\u2060room!", false},
		{"room in capitals", "@ROOM", 20, "@\u2060ROOM", false},
		{"user", "hi @alice:example.org", 30, "hi @\u2060alice:example.org", false},
		{"mail", "bob@example.org", 30, "bob@example.org", false},
		{"at", "5 @ 3: x", 30, "5 @ 3: x", false},
		{"pill", `<a href="https://matrix.to/#/@a:b">a</a>`, 60, `<a href="https://matrix` + joiner + `.to/#/@` + joiner + `a:b">a</a>`, false},
		{"uri", "MATRIX:u/alice:b", 60, "MATRIX" + joiner + ":u/alice:b", false},
		{"matrix alone", "the matrix has you", 60, "the matrix has you", false},
	} {
		got, cut := Text([]byte(tc.in), tc.max)
		if got != tc.want || cut != tc.cut {
			t.Errorf("%s: got %q %v, want %q %v", tc.name, got, cut, tc.want, tc.cut)
		}
	}
	big := bytes.Repeat([]byte{0xff, 0, '@', 'r', 'o', 'o', 'm', '<'}, 1<<17)
	got, cut := Text(big, 1000)
	if n := utf8.RuneCountInString(strings.ReplaceAll(got, joiner, "")); n != 1000 || !cut {
		t.Errorf("1 MB: %d characters, %v", n, cut)
	}
}

func TestEscapeHTML(t *testing.T) {
	if got, want := EscapeHTML(`<a href="x" o='y'>&amp;`), "&lt;a href=&#34;x&#34; o=&#39;y&#39;&gt;&amp;amp;"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func FuzzText(f *testing.F) {
	for _, s := range []string{"", "\x1b[31mx", "@room @ROOM matrix.to", "\xff\x00\r\n", "@a:b"} {
		f.Add([]byte(s), 10)
	}
	f.Fuzz(func(t *testing.T, b []byte, max int) {
		max &= 0xff
		s, _ := Text(b, max)
		if !utf8.ValidString(s) || utf8.RuneCountInString(strings.ReplaceAll(s, joiner, "")) > max {
			t.Errorf("%q", s)
		}
		for _, r := range s {
			if r < ' ' && r != '\n' && r != '\t' || r >= 0x202a && r <= 0x202e {
				t.Errorf("%q has %U", s, r)
			}
		}
		if lower := strings.ToLower(s); strings.Contains(lower, "@room") || strings.Contains(lower, "matrix.to") {
			t.Errorf("%q mentions", s)
		}
		if again, _ := Text([]byte(s), 4*max+16); again != s {
			t.Errorf("%q becomes %q", s, again)
		}
	})
}
