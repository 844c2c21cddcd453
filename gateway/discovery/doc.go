// Package discovery keeps what devices say of themselves: it runs the conventions over the messages, merges announcements
// into devices, renders their readings, and holds back what no person has admitted yet. It is pure but for templates that are
// compiled: clock and storage belong to whoever drives it, and one goroutine owns all of it.
package discovery
