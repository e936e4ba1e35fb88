// Package brokertest starts a real broker in memory for a test: no disk, no
// port, no waiting. The broker is the product's own, so what it acknowledges
// survives a Crash, and nothing else does.
//
// A Broker keeps its files in a vfs.Mem with a small journal. Clients reach it by
// its DialContext, within the process, so a test may run broker and clients in
// one bubble of testing/synctest, on virtual time.
//
//  1. Everything that Start makes ends with the test, in order: clients first,
//     then the broker. A test that leaves a goroutine behind has found a defect.
//  2. Crash and Restart replace the broker in place: clients made before find the
//     new one, because they dial through the Broker.
//
// Start may be called from the test's goroutine only; a Broker's methods are safe
// for concurrent use, but for Crash and Restart.
package brokertest
