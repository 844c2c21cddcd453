package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// showPreview prints what a preview found, for people.
func showPreview(to io.Writer, p previewed) error {
	w := bufio.NewWriter(to)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "  %-9s %s\n", name, clean(text, 0))
		}
	}
	for _, d := range p.Devices {
		about := joined(", ", d.Kind, joined(" ", d.Manufacturer, d.Model), strings.Join(d.Conventions, " and "))
		fmt.Fprintf(w, "%s (%s)\n", clean(d.Name, maxCell), clean(about, 0))
		room := d.Room
		if d.Space != "" {
			room += ", in the space " + d.Space
		}
		line("room", room)
		line("online", d.Online)
		first := "card"
		for text := range strings.SplitSeq(d.Card, "\n") {
			line(first, text)
			first = ""
		}
		line("reactions", strings.Join(d.Quick, ", "))
		first = "commands"
		for _, c := range d.Commands {
			text := c.Usage
			if c.Grade != "operate" {
				text += " (" + c.Grade + ")"
			}
			if len(c.Args) > 0 {
				text += "   " + strings.Join(c.Args, "; ")
			}
			line(first, text)
			first = ""
		}
		line("events", strings.Join(d.Events, ", "))
		line("alarms", strings.Join(d.Alarms, ", "))
		showRefused(line, d.Refused)
		first = "warning"
		for _, w := range d.Warnings {
			line(first, w)
			first = ""
		}
		fmt.Fprintln(w)
	}
	for _, r := range p.Rules {
		fmt.Fprintf(w, "%s (rule %s)\n", clean(r.Name, maxCell), clean(r.Rule, 0))
		line("room", r.Room)
		line("class", r.Class)
		line("messages", fmt.Sprint(r.Messages))
		fmt.Fprintln(w)
	}
	if len(p.Refused) > 0 {
		fmt.Fprintln(w, "Not supported")
		showRefused(line, p.Refused)
		fmt.Fprintln(w)
	}
	if p.Others > 0 {
		more := ""
		if p.Others > len(p.Unmatched) {
			more = " and others"
		}
		fmt.Fprintf(w, "Nothing takes %s: %s%s\n\n", counted(p.Others, "topic"), clean(strings.Join(p.Unmatched, ", "), 0), more)
	}
	fmt.Fprintf(w, "%s on %s: %s", counted(p.Messages, "message"), counted(p.Topics, "topic"), counted(len(p.Devices), "device"))
	if n := len(p.Rules); n > 0 {
		fmt.Fprintf(w, " and %d by rules", n)
	}
	fmt.Fprintln(w)
	if p.Note != "" {
		fmt.Fprintln(w, p.Note)
	}
	return w.Flush()
}

// showRefused lists what is not supported, each with its reason.
func showRefused(line func(name, text string), all []previewRefusal) {
	first := "refused"
	for _, r := range all {
		line(first, r.Name+": "+r.Reason)
		first = ""
	}
}

// joined puts what is not empty of parts together.
func joined(sep string, parts ...string) string {
	var out []string
	for _, p := range parts {
		if p != "" {
			out = append(out, p)
		}
	}
	return strings.Join(out, sep)
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
