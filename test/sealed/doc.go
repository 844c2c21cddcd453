// Package sealed is a person whose client encrypts, for where no other program is to be needed: the demo. It is made of mautrix,
// as gatepost itself is, so it proves less than the clients of test/e2ee, which nobody here wrote. It is there with the build tag
// goolm, without which the other library that mautrix can use would need a C compiler.
package sealed
