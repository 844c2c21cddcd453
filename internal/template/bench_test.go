package template

import "testing"

func BenchmarkRender(b *testing.B) {
	payload := []byte(`{"battery":97,"contact":true,"linkquality":120,"temperature":21.5,"humidity":48.2,"device":{"model":"X1"},"voltage":3015,"state":"ON"}`)
	js, err := JSON(payload)
	if err != nil {
		b.Fatal(err)
	}
	vars := map[string]any{"value": "21.5", "value_json": js, "reading": "temperature", "n": 21}
	for name, src := range map[string]string{
		"text":   "hello",
		"name":   "{{ reading }} {{ value }} °C",
		"path":   "{{ value_json.device.model }}: {{ value_json.temperature }}",
		"filter": "{{ value_json.temperature | round(1) }}",
		"when":   "{{ value_json.temperature > 60 }}",
	} {
		t, err := Compile(src)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := t.Render(vars); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := JSON(payload); err != nil {
				b.Fatal(err)
			}
		}
	})
}
