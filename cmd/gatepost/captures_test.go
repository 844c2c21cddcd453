package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/gatepost/gatepost/internal/config"
	"github.com/gatepost/gatepost/internal/template"
	"github.com/gatepost/gatepost/mqtt/convention"
	"github.com/gatepost/gatepost/mqtt/topic"
)

// unsupported are the templates of captures that the template package refuses, by what it says. Everything else compiles.
var unsupported = map[string]bool{
	"5:13: there is no function namespace": true, // how Zigbee2MQTT takes an action apart; its own convention does without
}

// TestTemplatesOfConventions: what the conventions make of all captures can be compiled, and the payload of each command can
// be rendered, with its optional arguments and without; what begins as JSON is JSON.
func TestTemplatesOfConventions(t *testing.T) {
	rules, err := compile(new(config.Config))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../mqtt/convention/testdata/*/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	commands := 0
	for _, file := range files {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := newPreview(new(config.Config), rules, prefixOf(a, filepath.Base(filepath.Dir(file))), time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimPrefix(filepath.ToSlash(file), "../../mqtt/convention/testdata/"), func(t *testing.T) {
			states := map[string]convention.State{}
			parts := map[string]convention.Part{} // also those that are gone in the end
			for _, f := range a.Files {
				if f.Name != "in" {
					continue
				}
				if err := convention.ReadCapture(bytes.NewReader(f.Data), func(m topic.Message) error {
					for _, c := range p.conventions {
						key := c.Key(m.Topic)
						if key == "" {
							continue
						}
						at := c.Name() + " " + key
						state, facts := c.Step(states[at], m)
						states[at] = state
						for _, f := range facts {
							if part, ok := f.(convention.Part); ok {
								parts[part.Convention+" "+part.Key] = part
							}
						}
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
			}
			for _, part := range parts {
				for _, r := range part.Readings {
					compiled(t, r.Label, r.Source.Template)
				}
				for _, r := range part.Triggers {
					compiled(t, r.Label, r.Source.Template)
				}
				for _, s := range part.Availability.Sources {
					compiled(t, "availability", s.Template)
				}
				for _, c := range part.Commands {
					commands++
					tryCommand(t, c)
				}
			}
		})
	}
	if commands < 50 {
		t.Errorf("%d commands in all captures", commands)
	}
}

// prefixOf is the prefix that the comment of a capture sets for its convention.
func prefixOf(a *txtar.Archive, name string) map[string]string {
	for line := range strings.Lines(string(a.Comment)) {
		if p, ok := strings.CutPrefix(line, "prefix: "); ok {
			return map[string]string{name: strings.TrimSpace(p)}
		}
	}
	return nil
}

// compiled compiles a template; nil if it is one of those that are refused.
func compiled(t *testing.T, what, src string) *template.Template {
	t.Helper()
	tpl, err := template.Compile(src)
	if err != nil && !unsupported[err.Error()] {
		t.Errorf("%s: %s: %v", what, src, err)
	}
	return tpl
}

// tryCommand renders a command's payload and what confirms it with values that its arguments may have.
func tryCommand(t *testing.T, c convention.Command) {
	t.Helper()
	for _, full := range []bool{true, false} {
		args := map[string]any{"transaction": "t1"}
		for _, a := range c.Args {
			if !a.Optional || full {
				args[a.Name] = sample(a)
			}
		}
		for _, src := range []string{c.Payload, confirmValue(c)} {
			tpl := compiled(t, c.Name, src)
			if tpl == nil {
				continue
			}
			out, err := tpl.Render(args)
			if err != nil {
				t.Errorf("%s: %s with %v: %v", c.Name, src, args, err)
			}
			if src == c.Payload && strings.HasPrefix(out, "{") && !json.Valid([]byte(out)) {
				t.Errorf("%s with %v is no JSON: %s", c.Name, args, out)
			}
		}
		if c.Confirm != nil && c.Confirm.Template != "" {
			compiled(t, c.Name, c.Confirm.Template)
		}
	}
}

func confirmValue(c convention.Command) string {
	if c.Confirm == nil {
		return ""
	}
	return c.Confirm.Value
}

// sample is a value that an argument may have.
func sample(a convention.Arg) any {
	switch {
	case len(a.Options) > 0:
		return a.Options[0]
	case a.Kind == convention.OnOff:
		return a.On
	case a.Kind == convention.Number && a.Min != nil && *a.Min == float64(int64(*a.Min)):
		return int64(*a.Min)
	case a.Kind == convention.Number && a.Min != nil:
		return *a.Min
	case a.Kind == convention.Number:
		return 21.5
	case a.Kind == convention.Time:
		return "2026-01-02T15:04:05Z"
	}
	if a.Plain {
		return "a text"
	}
	return "a text with \"quotes\", \\ and 'others'"
}
