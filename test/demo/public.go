//go:build !goolm

package main

import (
	"context"

	"github.com/gatepost/gatepost/test/harness"
)

// Without the tag neither gatepost nor the demo encrypts.
const (
	encryption   = "off"
	privateRules = ""
)

func private() []string { return nil }

func (s *scene) privately(context.Context, harness.Homeserver, string, string) (map[string]func(context.Context) error, error) {
	return nil, nil
}
