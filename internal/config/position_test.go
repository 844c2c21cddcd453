package config

import (
	"errors"
	"fmt"
	"testing"
)

func TestAt(t *testing.T) {
	cfg, err := Parse("x.yaml", []byte(`matrix:
  homeserver: http://127.0.0.1:8008
  server_name: example.org
  owners: ["@alice:example.org"]
mqtt: {}
devices:
  - topic: a/{device}
    commands:
      - name: open
        topic: b
  - topic: c/{device}
`), nil)
	if err != nil {
		t.Fatal(err)
	}
	cause := errors.New("is wrong")
	for path, want := range map[string]string{
		"devices[0].topic":             "x.yaml:7:12: devices[0].topic: is wrong",
		"devices[0].commands[0].topic": "x.yaml:10:16: devices[0].commands[0].topic: is wrong",
		"devices[1]":                   "x.yaml:11:5: devices[1]: is wrong",
		"devices[1].name":              "x.yaml:11:5: devices[1].name: is wrong",
		"matrix.registration":          "x.yaml:1:1: matrix.registration: is wrong",
		"mqtt.listen[0]":               "x.yaml:5:1: mqtt.listen[0]: is wrong",
		"store.path":                   "x.yaml:1:1: store.path: is wrong",
		"":                             "x.yaml:1:1: is wrong",
	} {
		got := cfg.At(path, cause)
		if got == nil || got.Error() != want {
			t.Errorf("%s: got %v, want %s", path, got, want)
		}
		if !errors.Is(got, cause) || !errors.Is(got, ErrInvalid) {
			t.Errorf("%s: is not its cause or not ErrInvalid", path)
		}
	}
	if err := cfg.At("matrix", nil); err != nil {
		t.Errorf("nil became %v", err)
	}
	var both Errors
	if err := cfg.At("matrix", errors.Join(cause, errors.New("too"))); !errors.As(err, &both) || len(both) != 2 {
		t.Errorf("joined errors became %v", err)
	}
	if err := cfg.At("matrix", fmt.Errorf("look: %w, %w", cause, cause)); err.Error() != "x.yaml:1:1: matrix: look: is wrong, is wrong" {
		t.Errorf("a text around joined errors is lost: %v", err)
	}

	joined := Join(cfg.At("devices[1]", cause), nil, cfg.At("matrix", cause), errors.New("no place"))
	want := "no place\nx.yaml:1:1: matrix: is wrong\nx.yaml:11:5: devices[1]: is wrong"
	if joined == nil || joined.Error() != want {
		t.Errorf("got %v, want %s", joined, want)
	}
	if err := Join(nil, cfg.At("matrix", nil)); err != nil {
		t.Errorf("nothing became %v", err)
	}
}
