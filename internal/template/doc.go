// Package template renders the Jinja of the configuration and of what devices announce about themselves. It is an
// evaluator of our own for the part of Jinja that such templates use, because they may come from a stranger: see
// docs/adr/0002-templates.md.
//
// What there is: {{ expressions }} with filters, tests, inline if, comparison chains, slices, lists and dictionaries; the
// blocks if, for and set; comments; white space control. There is nothing that reaches outside: no include, import,
// extends, macro, no files, no clock, no network, no Go method.
//
// Whatever the template and the variables are, a render ends soon and stays small: see limits.go. There is no time limit
// because none is needed.
//
// Templates come from two kinds of people: those who write rules, and those whose software announces devices to Home
// Assistant. Where Jinja and Home Assistant differ, this is as Home Assistant (testdata/discovery holds what that itself says
// of templates as they are announced, testdata/golden.json what Jinja says):
//   - round without a precision gives an integer, {{ 21.4 | round }} is 21, with one it never does;
//   - float, int and round of what is no number are errors unless there is a default: "unavailable" is not 0;
//   - to_json is compact, tojson as in Jinja.
//
// Where it differs from both:
//   - a key of an object wins over a method of the same name unless it is called;
//   - whole numbers beyond 64 bits, and text or lists beyond the limits, are errors;
//   - a number that came as text (see LazyText) prints as it was written and calculates as a number;
//   - regular expressions are Go's: without looking around and references back;
//   - there is no house behind it and no clock: states, now, the local time and the like are refused by their names.
package template
