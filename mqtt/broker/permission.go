package broker

import (
	"slices"
	"strings"

	"github.com/gatepost/gatepost/mqtt/topic"
)

// Permission is a topic filter of an account, in which {user} and {client} stand for the name of the account and the id of
// the client: "devices/{client}/#". "{{" and "}}" are the literal braces. Made by ParsePermission; the zero value permits
// nothing. It is comparable with Equal.
type Permission struct {
	text  topic.Template
	fixed topic.Filter // when it is the same for every client; else zero
}

// ParsePermission checks s: with its placeholders filled in it must be a topic filter.
func ParsePermission(s string) (Permission, error) {
	t, err := topic.ParseTemplate(s, []string{"user", "client"})
	if err != nil {
		return Permission{}, err
	}
	sample, err := t.Expand(map[string]string{"user": "x", "client": "x"})
	if err != nil {
		return Permission{}, err
	}
	f, err := topic.ParseFilter(sample)
	if err != nil {
		return Permission{}, err
	}
	p := Permission{text: t}
	if _, err := t.Expand(nil); err == nil {
		p.fixed = f
	}
	return p, nil
}

// String is the permission as it was written.
func (p Permission) String() string { return p.text.String() }

// Equal tells whether p and q permit the same.
func (p Permission) Equal(q Permission) bool { return p.text.String() == q.text.String() }

// filter is what p means for a client. A name that could change the filter it is put into permits nothing: see insertable.
func (p Permission) filter(user, client string) (f topic.Filter, ok bool) {
	if p.fixed != (topic.Filter{}) {
		return p.fixed, true
	}
	vars := map[string]string{}
	if insertable(user) {
		vars["user"] = user
	}
	if insertable(client) {
		vars["client"] = client
	}
	s, err := p.text.Expand(vars)
	if err != nil {
		return topic.Filter{}, false
	}
	f, err = topic.ParseFilter(s)
	return f, err == nil
}

// insertable tells whether a name stays within its level of a filter and makes neither a wildcard nor, at the beginning, a
// topic of the broker's own.
func insertable(name string) bool {
	return name != "" && name[0] != '$' && !strings.ContainsAny(name, "+#/\x00")
}

// rights are the permissions of one client, filled in. The zero value permits nothing.
type rights struct{ publish, subscribe []topic.Filter }

// mayPublish tells whether a topic, which is valid, may be published to.
func (r *rights) mayPublish(name string) bool {
	return slices.ContainsFunc(r.publish, func(f topic.Filter) bool { return f.Match(name) })
}

// maySubscribe tells whether the client may have what asked means: a filter, or a topic that is delivered.
func (r *rights) maySubscribe(asked string) bool {
	return slices.ContainsFunc(r.subscribe, func(f topic.Filter) bool { return topic.Permits(f, asked) })
}

func fill(list []Permission, user, client string) []topic.Filter {
	out := make([]topic.Filter, 0, len(list))
	for _, p := range list {
		if f, ok := p.filter(user, client); ok {
			out = append(out, f)
		}
	}
	return out
}
