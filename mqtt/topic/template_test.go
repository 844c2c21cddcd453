package topic

import (
	"strings"
	"testing"
)

func TestParseTemplate(t *testing.T) {
	names := []string{"site", "device"}
	for _, tt := range []struct {
		name, in string
		allowed  []string
		want     string // expanded with site=roof, device=t1
		err      string
	}{
		{"captures", "{site}-{device}", names, "roof-t1", ""},
		{"twice the same", "{site}/{site}", names, "roof/roof", ""},
		{"text only", "my room", nil, "my room", ""},
		{"empty", "", nil, "", ""},
		{"braces of its own", "{{site}} {site} }}", names, "{site} roof }", ""},
		{"UTF-8", "Küche {site}", names, "Küche roof", ""},
		{"unknown", "{sit}", names, "", "unknown capture {sit}: there are {site}, {device}"},
		{"nothing captured", "{site}", nil, "", "the rule's topic captures nothing"},
		{"not closed", "{site", names, "", `"{" without "}"`},
		{"not opened", "site}", names, "", `"}" without "{"`},
		{"Jinja", "{ site }", names, "", "{ site }"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tmpl, err := ParseTemplate(tt.in, tt.allowed)
			check(t, err, tt.err)
			if err != nil {
				return
			}
			got, err := tmpl.Expand(map[string]string{"site": "roof", "device": "t1"})
			if err != nil || got != tt.want || tmpl.String() != tt.in {
				t.Errorf("%q gives %q, %v; want %q", tmpl, got, err, tt.want)
			}
		})
	}
	tmpl, err := ParseTemplate("{site}", names)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tmpl.Expand(map[string]string{"device": "t1"})
	check(t, err, "{site} has no value here")
}

func TestParseTopicTemplate(t *testing.T) {
	for in, want := range map[string]string{
		"cmnd/{d}/POWER": "", "$aws/things/{d}/set": "", "{d}": "", "a//{d}/": "",
		"cmnd/{d}/#": "no wildcards", "+/{d}": "no wildcards", "": "it is empty", "a\x00": "NUL", "{e}": "unknown capture",
	} {
		_, err := ParseTopicTemplate(in, []string{"d"})
		check(t, err, want)
	}
}

func TestExpandTopic(t *testing.T) {
	for _, tt := range []struct{ name, template, value, want, err string }{
		{"plain", "cmnd/{d}/POWER", "plug 1", "cmnd/plug 1/POWER", ""},
		{"dollar inside", "cmnd/{d}", "$x", "cmnd/$x", ""},
		{"dollar behind text", "x{d}", "$x", "x$x", ""},
		{"dollar first", "{d}/set", "$SYS", "", "may not begin"},
		{"literal dollar", "$aws/{d}", "x", "$aws/x", ""},
		{"plus", "a/{d}", "+", "", "may not hold"},
		{"hash", "a/{d}", "x#", "", "may not hold"},
		{"slash", "a/{d}", "x/set", "", "may not hold"},
		{"NUL", "a/{d}", "x\x00", "", "may not hold"},
		{"not UTF-8", "a/{d}", "\xff", "", "not UTF-8"},
		{"empty", "a/{d}/set", "", "", "no value"},
		{"UTF-8", "a/{d}", "温度", "a/温度", ""},
		{"too long", "a/{d}", strings.Repeat("x", MaxLength), "", "at most 65535"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tmpl, err := ParseTopicTemplate(tt.template, []string{"d"})
			if err != nil {
				t.Fatal(err)
			}
			got, err := tmpl.ExpandTopic(map[string]string{"d": tt.value})
			check(t, err, tt.err)
			if err == nil && got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
