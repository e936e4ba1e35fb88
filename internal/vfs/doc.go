// Package vfs is the only way to files below the wall: the operating system's
// file system, one in memory that can crash, and a wrapper that makes either
// fail on purpose.
//
// # Nouns
//
// An FS opens Files. OS is the real one. Mem is the one in memory; a
// CrashClone of it is what a crash would leave. Faulty wraps an FS, counts its
// operations (Op) and makes those that a Rule matches fail.
//
// # The crash model of Mem
//
// A Mem holds everything twice: as programs see it, and as the disk has it.
// A power cut (CrashClone with the zero CrashOptions) follows these rules; each
// has a test of its name.
//
//  1. What File.Sync or FS.SyncAll covered is kept, length included. A file is
//     found again only if its name is durable too: Sync does not sync the name.
//  2. Each 512-byte sector that was written and not synced is as it is now or as
//     it was at the last sync, on its own: writes tear at sectors, later sectors
//     may stay where earlier ones are lost, and a recycled file may show its old
//     bytes. A sector never tears.
//  3. A length that was not synced is the one now, the one last synced, or any
//     between the smallest and the greatest since then. Sectors that were cut
//     off may come back when the file grows again; real file systems are kinder.
//  4. Create, Remove and Rename are atomic, and durable after SyncDir of their
//     directory (of either directory, for a Rename between two). Before that each
//     is kept or lost on its own, but never without the earlier ones on the same
//     names that it builds on. So a renamed file is never under no name, nor
//     under both.
//  5. A directory made by MkdirAll is durable, with its parents.
//  6. Reserved space (Preallocate) is kept as far as the length is.
//
// A killed process (KeepUnsynced) loses its handles and locks, nothing else.
//
// A sector that was written several times since the last sync shows only its
// newest version or the synced one; WriteBack makes older versions possible.
//
// # Invariants of Mem
//
//  1. A sector that is not marked dirty is the same in memory and on disk.
//  2. In memory, all bytes beyond a file's length are zero.
//  3. A page is written in place only by the table that made it, and never after
//     that table was copied or synced; so clones may share pages across
//     goroutines.
//  4. The same state and the same seed give the same clone.
//
// Everything is safe for concurrent use; the package starts no goroutines. A
// Mem has one lock, held for the length of one operation, in memory only.
//
// # Left out on purpose
//
// Permissions, time stamps, links, and the loss of pages at a failed fsync: the
// journal accepts no write after one. Memory-mapped files: a page that cannot
// be read would be a signal and not an error.
package vfs
