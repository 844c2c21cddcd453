package template

import (
	"encoding/base64"
	"strings"
	"unicode"
	"unicode/utf8"
)

// fromJSON reads JSON that came inside a text.
func fromJSON(r *run, in any, args []any) (any, error) {
	s, ok := asText(in)
	if ok {
		if err := r.use(8 * len(s)); err != nil {
			return nil, err
		}
		v, err := JSON([]byte(s))
		if err == nil {
			return v, nil
		}
	}
	if given(args[0]) {
		return args[0], nil
	}
	return nil, valuef("%s is not JSON", words(in))
}

func base64Encode(r *run, in any) (any, error) {
	s, err := r.string(in)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.EncodeToString([]byte(s)), r.text(2 * len(s))
}

func base64Decode(r *run, in any) (any, error) {
	s, ok := asText(in)
	if !ok {
		return nil, valuef("base64 is text, not %s", words(in))
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil || !utf8.Valid(b) {
		return nil, valuef("this is not base64 of text")
	}
	return string(b), r.text(len(b))
}

func ordinalOf(_ *run, in any) (any, error) {
	s, ok := asText(in)
	if c, n := utf8.DecodeRuneInString(s); ok && n > 0 && n == len(s) {
		return int64(c), nil
	}
	return nil, valuef("ord wants one character")
}

// trimSide is lstrip and rstrip.
func trimSide(left bool) func(*run, any, []any) (any, error) {
	return func(r *run, in any, args []any) (any, error) {
		s, ok := asText(in)
		if !ok {
			return nil, valuef("this works on text, not on %s", words(in))
		}
		set := ""
		if given(args[0]) && args[0] != nil {
			var err error
			if set, err = r.string(args[0]); err != nil {
				return nil, err
			}
			if len(set) > 64 {
				return nil, limitf("more than 64 bytes of characters to trim")
			}
		}
		if err := r.step(1 + len(s)/16); err != nil {
			return nil, err
		}
		switch {
		case set == "" && left:
			return strings.TrimLeftFunc(s, unicode.IsSpace), nil
		case set == "":
			return strings.TrimRightFunc(s, unicode.IsSpace), nil
		case left:
			return strings.TrimLeft(s, set), nil
		}
		return strings.TrimRight(s, set), nil
	}
}

// methodFind is find of a text: where the other begins, in characters, or -1.
func methodFind(r *run, in any, args []any) (any, error) {
	s, t, err := twoTexts(in, args)
	if err != nil {
		return nil, err
	}
	if i := strings.Index(s, t); i >= 0 {
		return int64(utf8.RuneCountInString(s[:i])), r.step(1 + len(s)/64)
	}
	return int64(-1), r.step(1 + len(s)/64)
}

// methodCount is how often a text has another, or a list an item.
func methodCount(r *run, in any, args []any) (any, error) {
	if l, ok := in.(list); ok {
		n := int64(0)
		for _, v := range l {
			same, err := r.equal(v, args[0])
			if err != nil {
				return nil, err
			}
			if same {
				n++
			}
		}
		return n, nil
	}
	s, t, err := twoTexts(in, args)
	if err != nil {
		return nil, err
	}
	return int64(strings.Count(s, t)), r.step(1 + len(s)/16)
}

// textTest is isdigit and the like: all characters are so, and there is one.
func textTest(f func(rune) bool) func(*run, any) (any, error) {
	return func(r *run, in any) (any, error) {
		s, ok := asText(in)
		if !ok {
			return nil, valuef("this works on text, not on %s", words(in))
		}
		return s != "" && strings.IndexFunc(s, func(c rune) bool { return !f(c) }) < 0, r.step(1 + len(s)/16)
	}
}

func methodZeroFill(r *run, in any, args []any) (any, error) {
	s, ok := asText(in)
	width, err := integer(args[0], "the width", 0)
	if !ok || err != nil || width > maxFormat {
		return nil, valuef("zfill works on text, with a width of at most %d", maxFormat)
	}
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	missing := int(width) - utf8.RuneCountInString(s) - len(sign)
	return sign + strings.Repeat("0", max(missing, 0)) + s, r.text(len(s) + int(max(width, 0)))
}

// without is removeprefix and removesuffix.
func without(f func(s, t string) string) func(*run, any, []any) (any, error) {
	return func(_ *run, in any, args []any) (any, error) {
		s, t, err := twoTexts(in, args)
		return f(s, t), err
	}
}
