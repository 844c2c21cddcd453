//go:build (e2e || interop) && !fault

package e2ee

import "time"

// A small storm, for make test.
const (
	stormSends = 60
	stormAsks  = 60
	stormKills = 4
	stormLife  = 2 * time.Second
	stormStill = 20 * time.Second

	patience = 60 * time.Second // for what must happen
	limit    = 5 * time.Minute  // for a test
)
