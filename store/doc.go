// Package store keeps everything of gatepost that must survive a crash in bbolt files, and is the only package that knows
// bbolt. A Store holds the lanes of the outbox, the inbox of Matrix events, dead letters, and named spaces of values for the
// other parts. A Table, beside it in a file of its own, holds rows whose meaning is their owner's: what the embedded broker
// keeps for its clients. What both do alike is the engine.
//
// Promises
//
//   - What Commit or Accept took is fsynced before they return, all of it or nothing. Calls from many goroutines share one
//     transaction: the first to come commits at once what waits, the others follow; there is no timer and no goroutine.
//   - Every record and value carries a CRC32C. A damaged one is set aside (moved to the bucket "damaged", logged, counted),
//     and where it still can be known, a gap marker takes its place in the lane. Damage to a value is never fatal.
//   - A lane at its bounds takes the new record and drops others in the order of lane.Bounds; what is dropped is counted in
//     a gap marker in the same transaction.
//   - Without room (disk full, MaxSize) commits fail with ErrNoSpace and change nothing; those that only take away still
//     work, for which a part of MaxSize is kept free. After any other failure of a commit nobody can know what is on the
//     disk: every later commit fails with ErrFatal, and the process must end and open the store again.
//   - A file that cannot be read as a whole (truncated, mangled pages) is ErrCorrupt at Open, one of a newer gatepost
//     ErrNewer; neither is touched.
//
// Caveats: an index of what waits in the lanes is kept in memory, 60 to 110 bytes a record. Times are kept in nanoseconds
// of UTC between 1970 and 2262. A backup (WriteTo) to a slow writer lets the file grow meanwhile, since pages that are being
// read are not used again.
//
// Package storetest has a store for tests that is checked when the test ends, and a helper that kills a writing process.
package store
