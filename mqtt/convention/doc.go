// Package convention decodes the ways in which devices announce themselves over MQTT: Home Assistant discovery, Homie,
// Zigbee2MQTT, Tasmota and others. Messages go in, plain facts come out: what devices there are, what they measure, what
// they can be asked to do, and what just happened.
//
// Everything here is pure: no clock, no goroutine, no network, no template is compiled or rendered. A Convention's Step is a
// function of the state it is given and one message; its user keeps the states, subscribes to the filters and to the topics
// that parts name, compiles and renders the templates (Jinja source, the variables are said where a template is), and
// publishes.
//
// Announcements are hostile input: anyone who may publish may send them. What leaves this package is bounded (limits.go) and
// clean (text.go): names without control characters, topics that may be published to, nothing that must be fetched. What is
// not supported is Refused, by name and with a reason for people, and never rendered wrong.
//
// To add a convention: a type with the methods of Convention in a file of its own, a line in list.go, captured messages in
// testdata/<name>/, each with its source named. The suite (suite_test.go) then runs over it.
package convention
