package convention

// What an announcement may hold. Beyond it things are cut where that is harmless (names) and refused where it is not.
const (
	MaxPayload   = 64 << 10  // bytes of a message that Step reads as an announcement
	MaxInventory = 4 << 20   // bytes of one that lists all devices of a bridge at once
	MaxDepth     = 32        // nesting of JSON
	MaxState     = 256 << 10 // bytes of a State
	MaxParts     = 4096      // of one message
	MaxReadings  = 256       // of a Part, and of a Device
	MaxCommands  = 256       // of a Part, and of a Device
	MaxArgs      = 16        // of a command
	MaxOptions   = 128       // of a reading or an argument
	MaxSources   = 16        // of availability
	MaxIDs       = 16        // of a Part
	MaxName      = 255       // bytes of a name, a label, a reason, a model
	MaxWord      = 64        // bytes of a Name [a-z0-9_]+, a unit, an option
	MaxID        = 128       // bytes of an identifier
	MaxTopic     = 1024      // bytes of a topic that a device announces
	MaxTemplate  = 8 << 10   // bytes of a template
)
