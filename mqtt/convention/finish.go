package convention

// finish is the last look at a Part before it leaves: all text for people is cut to its bounds, and a command or reading
// whose topic or template may not be is refused by name. What is refused before counts first.
func finish(p Part) Part {
	p.Name, p.Manufacturer, p.Model = label(p.Name), label(p.Manufacturer), label(p.Model)
	p.Software, p.Area = clean(p.Software, MaxName), label(p.Area)
	refuse := func(name, reason string) {
		if len(p.Refused) < MaxReadings {
			p.Refused = append(p.Refused, Refusal{firstOf(label(name), "something without a name"), label(reason)})
		}
	}
	for i := range p.Refused {
		p.Refused[i].Name = label(p.Refused[i].Name)
		p.Refused[i].Reason = label(p.Refused[i].Reason)
	}
	readings := map[string]bool{}
	p.Readings = keep(p.Readings, MaxReadings, func(r *Reading) bool {
		r.Label, r.Unit = label(r.Label), clean(r.Unit, MaxWord)
		why := badSource(r.Source)
		if why != "" {
			refuse(r.Label, why)
		}
		readings[r.Name] = why == ""
		return why == ""
	})
	p.Triggers = keep(p.Triggers, MaxReadings, func(t *Trigger) bool {
		t.Label = label(t.Label)
		why := badSource(t.Source)
		if why != "" {
			refuse(t.Label, why)
		}
		return why == ""
	})
	p.Commands = keep(p.Commands, MaxCommands, func(c *Command) bool {
		c.Label = label(c.Label)
		for i := range c.Args {
			c.Args[i].Label, c.Args[i].Unit = label(c.Args[i].Label), clean(c.Args[i].Unit, MaxWord)
			c.Args[i].ordered()
		}
		why := publishable(c.Topic)
		if why == "" && len(c.Payload) > MaxTemplate {
			why = "what is to be sent is too long"
		}
		if why != "" {
			refuse(c.Label, why)
		}
		if c.Confirm != nil && c.Confirm.Reading != "" && !readings[c.Confirm.Reading] {
			c.Confirm = nil
		}
		return why == ""
	})
	p.Alarms = keep(p.Alarms, MaxReadings, func(a *AlarmRule) bool {
		a.Label = label(a.Label)
		return readings[a.Reading]
	})
	p.Availability.Sources = keep(p.Availability.Sources, MaxSources, func(s *AvailabilitySource) bool {
		return s.Topic != "" && badSource(s.Source) == ""
	})
	return p
}

// badSource says why nothing can be read from s, "" if it can.
func badSource(s Source) string {
	switch {
	case s.Topic == "" && s.Template == "":
		return "" // Step yields the values
	case len(s.Template) > MaxTemplate:
		return "its template is too long"
	}
	return readable(s.Topic)
}

// keep makes a list of those of all that good says yes to, at most most.
func keep[T any](all []T, most int, good func(*T) bool) []T {
	var out []T
	for _, v := range all {
		if len(out) < most && good(&v) {
			out = append(out, v)
		}
	}
	return out
}
