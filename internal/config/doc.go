// Package config reads gatepost's configuration: strict YAML, every mistake reported at once with file, line, column, key
// and what was expected.
//
// Load gives a checked Config with all defaults filled in, or an Errors that lists everything that is wrong. What only
// another package can judge (topic filters, templates, certificates) is checked by the caller, who puts the place in the
// file in front of what that package says with Config.At. Keys that this version reads but does not act on are in
// Config.Warnings, so that nothing is ignored in silence.
//
// After reading, a value may name environment variables as ${NAME}; passwords and tokens are of type Secret, which never
// prints itself. Relative paths belong to the folder of the file they stand in.
//
// A Config is not changed after Load. Reloader holds the one in use and replaces it as a whole.
package config
