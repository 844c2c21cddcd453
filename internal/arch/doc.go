// Package arch has no code, only tests that look at the rest of the repository: who imports whom, that packages introduce
// themselves, that tests do not sleep, that files stay small and that links lead somewhere. Each failure says why the rule
// is there. A rule is changed in its table here, and nowhere else.
package arch
