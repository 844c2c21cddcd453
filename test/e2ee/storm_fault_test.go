//go:build fault

package e2ee

import "time"

// The storm of make fault.
const (
	stormSends = 1000
	stormAsks  = 1000
	stormKills = 20
	stormLife  = 8 * time.Second
	stormStill = time.Minute

	patience = 10 * time.Minute // for what must happen
	limit    = 30 * time.Minute // for a test
)
