//go:build tools

// Package go2rtc names go2rtc, a server of camera streams in Go, that the tests run. It is a module of its own, so that nothing of
// go2rtc gets into gatepost's go.mod; the Makefile builds it into bin/.
package go2rtc

import _ "github.com/AlexxIT/go2rtc"
