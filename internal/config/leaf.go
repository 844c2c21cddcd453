package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatepost/gatepost/internal/ids"
)

// leaf reads n into v when v is a single value; false when v is a section or a list.
func (d *decoder) leaf(path string, n *yaml.Node, v reflect.Value, f field) bool {
	switch v := v.Addr().Interface().(type) {
	case *string:
		d.str(path, n, v, f)
	case *ids.UserID:
		parse(d, path, n, v, "a Matrix user id such as @alice:example.org", parseUserID)
	case *bool:
		d.bare(path, n, "true or false", func(text string) bool {
			*v = text == "true"
			return text == "true" || text == "false"
		})
	case *int:
		d.bare(path, n, "a whole number", func(text string) bool { return atoi(text, v) })
	case *byte:
		d.bare(path, n, "0 or 1", func(text string) bool {
			i := 0
			ok := atoi(text, &i) && i >= 0 && i <= 1
			*v = byte(i)
			return ok
		})
	case *time.Duration:
		parse(d, path, n, v, "a duration such as 30s, 10m, 12h or 30d", parseDuration)
	case *Size:
		parse(d, path, n, v, "a size such as 64KiB, 4MB or 256MiB", parseSize)
	case *Hours:
		parse(d, path, n, v, `hours such as "07:00-22:00"`, parseHours)
	case *float64:
		d.bare(path, n, "a number", func(text string) bool {
			f, err := strconv.ParseFloat(text, 64)
			*v = f
			return err == nil && f-f == 0
		})
	case *Range:
		parse(d, path, n, v, "a range such as 5..30, 0.. or ..100", parseRange)
	case *PortRange:
		parse(d, path, n, v, "a range of ports such as 49152-65535", parsePortRange)
	case *netip.Prefix:
		parse(d, path, n, v, "a CIDR such as 10.0.0.0/8", parsePrefix)
	case *netip.Addr:
		parse(d, path, n, v, "an IP address", parseAddr)
	case **time.Location:
		parse(d, path, n, v, "a time zone such as Europe/Berlin, UTC or Local", parseZone)
	case *slog.Level:
		parse(d, path, n, v, oneOf("debug info warn error"), parseLevel)
	case *Secret:
		d.secret(path, n, v)
	default:
		return false
	}
	return true
}

// parse reads a scalar by a function that gives the reason when it cannot.
func parse[T any](d *decoder, path string, n *yaml.Node, v *T, want string, read func(string) (T, error)) {
	text, _, ok := d.text(path, n, want)
	if !ok {
		return
	}
	got, err := read(text)
	switch {
	case errors.Is(err, errShape):
		d.fail(path, "%s is not %s", quote(text), want)
	case err != nil:
		d.fail(path, "%s %s", quote(text), err)
	default:
		*v = got
	}
}

// errShape is the answer of a parser that has nothing better to say than what was expected.
var errShape = errors.New("not of the expected form")

// bare reads a scalar that must stand without quotes.
func (d *decoder) bare(path string, n *yaml.Node, want string, read func(string) bool) {
	text, bare, ok := d.text(path, n, want)
	switch {
	case !ok:
	case !bare && read(text):
		d.fail(path, "is text; expected %s without quotes", want)
	case !bare || !read(text):
		d.fail(path, "%s is not %s", quote(text), want)
	}
}

func (d *decoder) str(path string, n *yaml.Node, v *string, f field) {
	want := "text"
	switch {
	case f.want != "":
		want = f.want
	case f.oneof != "":
		want = oneOf(f.oneof)
	case f.path:
		want = "a file name"
	}
	text, _, ok := d.text(path, n, want)
	switch possible := strings.Fields(f.oneof); {
	case !ok:
	case text == "" && (f.required || f.path):
		d.fail(path, "is empty; expected %s", want)
	case f.oneof != "" && !slices.Contains(possible, text):
		reason := fmt.Sprintf("%s is not %s", quote(text), want)
		if near := nearest(text, possible); near != "" {
			reason += fmt.Sprintf("; did you mean %q?", near)
		}
		d.fail(path, "%s", reason)
	case f.path && !filepath.IsAbs(text):
		*v = filepath.Join(d.dir, text)
	default:
		*v = text
	}
}

// oneOf lists words: "a, b or c".
func oneOf(words string) string {
	list := strings.Fields(words)
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}

func atoi(text string, v *int) bool {
	i, err := strconv.Atoi(text)
	if err != nil || strings.HasPrefix(text, "+") || len(text) > 1 && strings.TrimPrefix(text, "-")[0] == '0' {
		return false
	}
	*v = i
	return true
}
