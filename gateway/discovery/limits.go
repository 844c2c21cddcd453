package discovery

import "time"

// What a Host keeps. Announcements come from anybody who may publish, so everything has a bound; what is beyond it is left
// out and counted (Host.Left).
const (
	maxDevices      = 10_000   // decided ones and those that wait
	maxWaiting      = 2_000    // devices that no person has decided about
	maxWaitingBytes = 16 << 20 // of their announcements
	maxParts        = 50_000
	maxDeviceParts  = 300 // parts of one device
	maxBytes        = 96 << 20
	maxStates       = 50_000 // then those are forgotten that came to nothing
	sweepStates     = 1_000  // at once
	maxWild         = 1_000  // sources with wildcards
	maxTemplates    = 20_000 // compiled ones that are remembered
	maxRefused      = 500    // announcements that could not be read at all
	maxText         = 1024   // bytes of a value
	maxPicture      = 8 << 20
)

// Config.Auto admits at most so many devices in such a time; of the others people are asked.
const (
	autoMost = 500
	autoTime = 10 * time.Minute
)

// When a Host acts by itself.
const (
	settleTime = 2 * time.Second  // so long a new device must be silent about itself before a person is asked
	settleMost = 15 * time.Second // but one that never stops is asked about all the same
	goneTime   = 10 * time.Minute // a device that withdrew everything is given up after so long
	keepTime   = time.Minute      // a value that came again unchanged is stored again after so long, for its age
)
