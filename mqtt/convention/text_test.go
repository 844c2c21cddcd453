package convention

import (
	"strings"
	"testing"
)

func TestPublishable(t *testing.T) {
	for topic, why := range map[string]string{
		"a/set": "", "zigbee2mqtt/Living room lamp/set": "", "homie/x/y/set": "", "homie/5/x/y/$target": "", "zigbee2mqtt/bridge/request/restart": "",
		"home/OMG/commands/MQTTtoBT/config": "", "spBv1.0/g/NCMD/e": "", "shellies/config": "", "x/homeassistant": "",
		"": "missing", "a/+": "not valid", "a/b/#": "not valid", "$SYS/x": "broker's own", "$share/g/a": "broker's own", "a\x00": "not valid", "a\nb": "invisible", "a\u202eb": "invisible",
		"homeassistant/switch/x/config": "announcements", "homeassistant/light/n/x/config": "announcements", "my/ha/sensor/x/config": "announcements",
		"homeassistant/device/x/config": "announcements", "tasmota/discovery/ABC/config": "announcements", "homie/x/$name": "announcements", "homie/5/x/$description": "announcements",
		"spBv1.0/g/NBIRTH/e": "announcements", "zigbee2mqtt/bridge/devices": "announcements", strings.Repeat("x", MaxTopic+1): "too long",
	} {
		if got := publishable(topic); got == "" && why != "" || !strings.Contains(got, why) {
			t.Errorf("%.60q: %q, want %q", topic, got, why)
		}
	}
	for topic, why := range map[string]string{
		"a/b": "", "+/+/BTtoMQTT/A4C1": "", "home/OMG/433toMQTT/#": "", "a/+/b": "",
		"#": "too many", "+": "too many", "+/+": "too many", "+/#": "too many", "a/#": "too many", "+/a/#": "too many", "$SYS/#": "broker's own", "a/#/b": "not valid",
	} {
		if got := readable(topic); got == "" && why != "" || !strings.Contains(got, why) {
			t.Errorf("%q: %q, want %q", topic, got, why)
		}
	}
}

func TestIdentifier(t *testing.T) {
	for _, tt := range []struct{ kind, value, want string }{
		{"mac", "A4:C1:38:AA:BB:CC", "mac:a4c138aabbcc"},
		{"mac", "a4-c1-38-aa-bb-cc", "mac:a4c138aabbcc"},
		{"mac", "A4C138AABBCC", "mac:a4c138aabbcc"},
		{"mac", "00:00:00:00:00:00", ""},
		{"mac", "ff:ff:ff:ff:ff:ff", ""},
		{"mac", "A4C1", ""},
		{"mac", "hello", ""},
		{"zigbee", "0x00158D0001A2B3C4", "zigbee:0x00158d0001a2b3c4"},
		{"zigbee", "bridge_0x00158d0001a2b3c4", ""},
		{"ha", "  my\x00 id\u202e ", "ha:my id"},
		{"ha", "", ""},
		{"ha", "\n", ""},
	} {
		if got := Identifier(tt.kind, tt.value); got != tt.want {
			t.Errorf("%s %q: %q, want %q", tt.kind, tt.value, got, tt.want)
		}
	}
	for id, want := range map[string]string{
		"zigbee2mqtt_0x00158d0001a2b3c4": "zigbee:0x00158d0001a2b3c4", "shellyplus1-a8032ab12345": "mac:a8032ab12345", "a4cf12f03abc": "mac:a4cf12f03abc",
		"A4:CF:12:F0:3A:BC": "mac:a4cf12f03abc", "zwavejs2mqtt_0xe1a2b3c4_node5": "", "porch": "", "kitchen_temperature_1": "",
	} {
		all := haIdentifiers(id)
		if all[0] != "ha:"+id || len(all) != 1+min(len(want), 1) || want != "" && all[1] != want {
			t.Errorf("%s: %v", id, all)
		}
	}
}

func TestWordsAndLines(t *testing.T) {
	for s, want := range map[string]string{"Küche links": "kuche_links", "Power-on behavior": "power_on_behavior", "  ": "", "ÄÖÜß": "aous", "温度 2": "2", strings.Repeat("ab ", 100): "ab_ab_ab_ab_ab_ab_ab_ab_ab_ab_ab_ab_ab_ab_ab_ab_ab_ab_ab_ab_ab_a"} {
		if got := word(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	for s, want := range map[string]string{"a\n\tb": "a b", " a\u200bb\u202e ": "ab", "\xff\xfe": "", "é": "é"} {
		if got := label(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	if got := clean("ééé", 5); got != "éé" {
		t.Errorf("%q", got)
	}
}

func TestLiteral(t *testing.T) {
	for s, want := range map[string]string{"ON": "ON", `{"a":1}`: `{{ '{"a":1}' }}`, "it's {": `{{ 'it\'s {' }}`, "a\n": `{{ 'a\n' }}`, "}}": "}}", `{\`: `{{ '{\\' }}`} {
		if got := literal(s); got != want {
			t.Errorf("%q: %s, want %s", s, got, want)
		}
	}
	if got := access("a", "b c", "1x", ""); got != "value_json.a['b c']['1x']['']" {
		t.Error(got)
	}
}
