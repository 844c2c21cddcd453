package convention

import (
	"strings"
	"testing"
)

func TestJSONObject(t *testing.T) {
	number, text := Arg{Name: "n", Kind: Number}, Arg{Name: "s", Kind: Text}
	onOff := Arg{Name: "b", Kind: OnOff, On: "true", Off: "false"}
	for _, tt := range []struct {
		got, want string
	}{
		{jsonObject(field{name: "a", source: jsonValue(number)}), `{"a":{{ n }}}`},
		{jsonObject(field{name: "a", source: jsonValue(text)}), `{"a":{{ s | tojson }}}`},
		{jsonObject(field{name: "a", source: jsonValue(onOff)}), `{"a":{{ b }}}`},
		{jsonObject(field{name: "a", source: "1"}, field{"b", "2", "b"}), `{"a":1{% if b is defined %},"b":2{% endif %}}`},
		{jsonObject(field{name: "{{ 1 }}", source: "1"}), `{ {{ '{{ 1 }}' | tojson }}:1}`},
		{jsonLiteral(true), "true"},
		{jsonLiteral(`a"b`), `"a\"b"`},
		{jsonLiteral("{% x"), `{{ '{% x' | tojson }}`},
		{jsonValue(Arg{Name: "o", Kind: Option, Options: []string{"1", "2"}}), "{{ o }}"},
		{jsonValue(Arg{Name: "o", Kind: Option, Options: []string{"1", "x"}}), "{{ o | tojson }}"},
		{jsonValue(Arg{Name: "o", Kind: OnOff, On: "01", Off: "0"}), "{{ o | tojson }}"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s, want %s", tt.got, tt.want)
		}
	}
}

func TestUniqueNames(t *testing.T) {
	u := unique{}
	for _, tt := range [][2]string{{"State", "state"}, {"state", "state_2"}, {"Küche 1", "kuche_1"}, {"???", "none"}, {"!", "none_2"}} {
		if got := u.name(tt[0], "none"); got != tt[1] {
			t.Errorf("%s: %s, want %s", tt[0], got, tt[1])
		}
	}
	seen := map[string]bool{}
	for range 2000 {
		n := u.name(strings.Repeat("a b ", 40), "none")
		if seen[n] || len(n) > MaxWord || word(n) != n {
			t.Fatalf("%q is taken, too long or no name", n)
		}
		seen[n] = true
	}
}

// TestFinish: what may not leave the package does not, and is named.
func TestFinish(t *testing.T) {
	p := finish(Part{
		Name: strings.Repeat("n", 1000),
		Readings: []Reading{
			{Name: "good", Label: "Good", Source: Source{Topic: "a/b"}},
			{Name: "bad", Label: "Bad", Source: Source{Topic: "a/\x00"}},
			{Name: "long", Label: "Long", Source: Source{Topic: "a", Template: strings.Repeat("x", MaxTemplate+1)}},
		},
		Commands: []Command{
			{Name: "good", Label: "Good one", Topic: "a/set", Confirm: &Confirm{Reading: "good"}},
			{Name: "unsure", Label: "Unsure", Topic: "a/set", Confirm: &Confirm{Reading: "bad"}},
			{Name: "broker", Label: "Broker", Topic: "$SYS/x"},
			{Name: "device", Label: "Make a device", Topic: "homeassistant/switch/x/config"},
		},
		Alarms: []AlarmRule{{Name: "a", Reading: "good"}, {Name: "b", Reading: "bad"}},
	})
	var refused []string
	for _, r := range p.Refused {
		refused = append(refused, r.Name)
	}
	if got, want := strings.Join(refused, ","), "Bad,Long,Broker,Make a device"; got != want {
		t.Errorf("refused: %s, want %s", got, want)
	}
	if len(p.Name) > MaxName || len(p.Readings) != 1 || len(p.Commands) != 2 || len(p.Alarms) != 1 {
		t.Errorf("%+v", p)
	}
	if p.Commands[0].Confirm == nil || p.Commands[1].Confirm != nil {
		t.Error("a command is confirmed by the reading that there is, and only by one that there is")
	}
}
