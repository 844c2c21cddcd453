package convention

import "strings"

// composite takes an object: each of its features is a reading, all of them together are the arguments of one command.
func (e *exposer) composite(p property) {
	if p.within == "light" && strings.HasPrefix(str(p.o["name"]), "color_") {
		e.color(p)
		return
	}
	var args []Arg
	var fields []field
	names := unique{}
	why := ""
	for _, v := range list(p.o["features"]) {
		o, _ := v.(map[string]any)
		key := str(o["property"])
		if key == "" {
			key = str(o["name"])
		}
		if word(key) == "" || len(key) > MaxID {
			continue
		}
		f := property{o: o, keys: []string{p.keys[0], key}, name: p.name + "_" + word(key), label: spoken(p.keys[0] + " " + key), access: whole(o["access"], 0, 7, 0) & p.access, config: p.config}
		a, ok := e.feature(f, names.name(key, "value"))
		if !ok {
			why = "it holds a list or an object, which cannot be set here"
			continue
		}
		if f.access&zSet == 0 {
			continue
		}
		if a.Optional = len(args) > 0; a.Optional {
			fields = append(fields, field{key, jsonValue(a), a.Name})
		} else {
			fields = append(fields, field{key, jsonValue(a), ""})
		}
		args = append(args, a)
	}
	switch {
	case p.access&zSet == 0 || len(args) == 0 && why == "":
	case why != "":
		e.refuse("Set "+lowered(p.label), why)
	case len(args) > MaxArgs:
		e.refuse("Set "+lowered(p.label), "it has too many parts")
	default:
		e.command(Command{
			Name: "set_" + p.name, Label: "Set " + lowered(p.label), Args: args, Grade: e.grade(p),
			Payload: jsonObject(field{name: p.keys[0], source: jsonObject(fields...)}),
		})
	}
}

// feature adds the reading of a feature of a composite, and makes the argument for it; false if it has no plain value.
func (e *exposer) feature(f property, name string) (Arg, bool) {
	a := Arg{Name: name, Label: spoken(name)}
	r := Reading{}
	switch str(f.o["type"]) {
	case "binary":
		a.Kind, a.On, a.Off = OnOff, str(f.o["value_on"]), str(f.o["value_off"])
		r = Reading{Kind: OnOff, On: cut(rendered(f.o["value_on"]), MaxWord), Off: cut(rendered(f.o["value_off"]), MaxWord)}
		r.Source.Template = "{% if " + access(f.keys[0]) + " %}" + path(f.keys...) + "{% endif %}"
	case "numeric":
		unit := clean(str(f.o["unit"]), MaxWord)
		a = numberArg(f, unit)
		a.Name, a.Label = name, spoken(name)
		r = Reading{Kind: Number, Unit: unit, Quantity: quantityOf(word(f.keys[1]), unit)}
	case "enum":
		a.Kind, a.Options = Option, texts(f.o["values"], MaxOptions)
		r = Reading{Kind: Option, Options: a.Options}
	case "text":
		a.Kind = Text
		a.Secret = secretWord(f.name)
		r = Reading{Kind: Text}
	default:
		return a, false
	}
	if f.access&zSeen != 0 && !a.Secret {
		e.reading(f, r)
	}
	return a, true
}

// color: Zigbee2MQTT takes a colour in several forms whatever the lamp itself speaks.
func (e *exposer) color(p property) {
	suffix := strings.TrimPrefix(p.name, "color")
	features := map[string]string{"color_xy": "xy", "color_hs": "hs"}
	form := features[str(p.o["name"])]
	if form == "" {
		e.refuse(p.label, "this form of colour is not known here")
		return
	}
	for _, v := range list(p.o["features"]) {
		o, _ := v.(map[string]any)
		key := str(o["property"])
		if word(key) == "" || len(key) > MaxWord || p.access&zSeen == 0 {
			continue
		}
		e.reading(property{keys: []string{p.keys[0], key}, name: p.name + "_" + word(key), label: spoken(p.keys[0] + " " + key), config: true}, Reading{Kind: Number})
	}
	if p.access&zSet == 0 {
		return
	}
	news := e.anyNews(p.name + "_" + map[string]string{"xy": "x", "hs": "hue"}[form])
	number := func(name, unit string, high float64) Arg {
		low := 0.0
		return Arg{Name: name, Label: spoken(name), Kind: Number, Unit: unit, Min: &low, Max: &high}
	}
	object := func(args ...Arg) (payload string) {
		var fields []field
		for _, a := range args {
			fields = append(fields, field{name: a.Name, source: jsonValue(a)})
		}
		return jsonObject(field{name: p.keys[0], source: jsonObject(fields...)})
	}
	if id := "hex " + p.name; !e.seen[id] {
		e.seen[id] = true
		least := 7.0
		hex := Arg{Name: "hex", Label: "Colour as #rrggbb", Kind: Text, Min: &least, Max: &least}
		e.command(Command{Name: "set_color" + suffix, Label: "Set the colour", Args: []Arg{hex}, Payload: object(hex), Confirm: news})
	}
	args := []Arg{number("x", "", 1), number("y", "", 1)}
	if form == "hs" {
		args = []Arg{number("hue", "°", 360), number("saturation", "%", 100)}
	}
	e.command(Command{
		Name: "set_color_" + form + suffix, Label: "Set the colour by " + args[0].Name + " and " + args[1].Name, Args: args, Payload: object(args...),
		Confirm: news,
	})
}

// anyNews confirms by the reading of this name; lamps round colours, so that no value can be expected.
func (e *exposer) anyNews(name string) *Confirm {
	for _, r := range e.part.Readings {
		if r.Name == name {
			return &Confirm{Reading: name}
		}
	}
	return nil
}
