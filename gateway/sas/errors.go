package sas

import "errors"

var (
	// ErrForeign is returned by New for a request that is too old, from the future, or offers nothing we can do. It is not answered.
	ErrForeign = errors.New("sas: not a request for a comparison of emoji")
	// ErrEarly is returned by Confirm before there is anything to compare; nothing has changed.
	ErrEarly = errors.New("sas: there is nothing to compare yet")
	// ErrOver is returned by Confirm when the flow has ended.
	ErrOver = errors.New("sas: the verification is over")
)

// Code says why a flow was cancelled; the values are the standard's.
type Code string

// The codes that we send. Others arrive.
const (
	CodeUser        Code = "m.user"
	CodeTimeout     Code = "m.timeout"
	CodeMethod      Code = "m.unknown_method"
	CodeUnexpected  Code = "m.unexpected_message"
	CodeKeyMismatch Code = "m.key_mismatch"
	CodeInvalid     Code = "m.invalid_message"
	CodeMismatch    Code = "m.mismatched_sas"
)
