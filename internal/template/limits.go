package template

// What one template and one render may use. Reaching a limit is an error that says so (errors.Is ErrLimit).
const (
	maxSource = 8 << 10   // bytes of source
	maxDepth  = 32        // nesting of blocks, and of brackets in an expression
	maxResult = 64 << 10  // bytes of the result, and of any text on the way to it
	maxItems  = 10_000    // items of a list made by a template
	maxTurns  = 10_000    // turns of all loops of a render
	maxLocals = 64        // variables set by the template at one time
	maxSteps  = 500_000   // evaluated parts, compared items and the like of a render: some 10 ms
	maxMemory = 4 << 20   // bytes of all text and lists made by a render
	maxJSON   = 1 << 20   // bytes of a JSON payload
	maxValues = 50_000    // values in a JSON payload
	maxFormat = 1_000     // width and precision in format
	itemBytes = 16        // what an item of a list counts towards maxMemory
	maxCount  = 1_000_000 // the largest list index or slice step that is looked at
)
