package matrix

import (
	"encoding/json"
	"testing"

	"github.com/gatepost/gatepost/internal/ids"
)

func TestWithPower(t *testing.T) {
	type people = map[ids.UserID]int
	for _, c := range []struct {
		name, have  string
		before, now people
		want        string // "" nothing changes
	}{
		{"nobody yet", `{"ban":50}`, nil, people{"@a:x": 25}, `{"ban":50,"users":{"@a:x":25}}`},
		{"others stay", `{"users":{"@bot:x":100,"@m:x":75}}`, nil, people{"@a:x": 25}, `{"users":{"@a:x":25,"@bot:x":100,"@m:x":75}}`},
		{"who is no member any more", `{"users":{"@a:x":25,"@bot:x":100}}`, people{"@a:x": 25}, people{}, `{"users":{"@bot:x":100}}`},
		{"no level is the default", `{"users":{"@a:x":25}}`, people{"@a:x": 25}, people{"@a:x": 0}, `{"users":{}}`},
		{"a level that is a text", `{"users":{"@a:x":"25"}}`, nil, people{"@a:x": 25}, ``},
		{"nothing to do", `{"users":{"@a:x":25}}`, people{"@b:x": 25}, people{"@a:x": 25}, ``},
	} {
		t.Run(c.name, func(t *testing.T) {
			var have object
			if err := json.Unmarshal([]byte(c.have), &have); err != nil {
				t.Fatal(err)
			}
			content, changed, err := withPower(have, c.before, c.now)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := json.Marshal(content)
			if changed != (c.want != "") || changed && string(got) != c.want {
				t.Errorf("got %v %s, want %s", changed, got, c.want)
			}
		})
	}
	if _, _, err := withPower(object{"users": json.RawMessage(`[]`)}, nil, people1()); err == nil {
		t.Error("a list of users is no error")
	}
}

func people1() map[ids.UserID]int { return map[ids.UserID]int{"@a:x": 1} }
