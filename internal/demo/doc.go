// Package demo runs one real day of a shop through a broker: it produces the
// day's invoice lines, lets three applications work on them, and checks what they
// found against totals computed from the file alone.
//
// It is also the worked example of package weir: apps.go is what an application
// looks like, the rest is the stage.
//
// # Nouns
//
//   - Line: one line of an invoice ([shop.Line]), one record of topic orders.
//   - Application: a consumer group with a question to the lines (stock, fraud,
//     recommendations). Its state is what it has found so far.
//   - Member: one [weir.App] of an application. Stock has two, which share one
//     stock book, as members of a real group would share a database.
//   - Answers: the numbers of the day, once as found behind the broker and once
//     as computed from the file.
//
// # Invariants
//
//  1. Everything goes through the broker: the numbers found come from the
//     applications' states, from offsets the groups committed, and from records
//     read back from the alert and dead-letter topics.
//  2. Run returns nil only if all numbers agree, and ErrWrong if one does not.
//  3. It works on empty topics only. Where one of its topics exists it changes
//     nothing and returns ErrUsed: a second day would be added to the first.
//  4. When Run returns, the members have left their groups, every goroutine has
//     ended, and the terminal has its cursor again, whatever ended the run.
//
// # Goroutines
//
// Run is one loop on the caller's goroutine: a tick feeds the lines that are
// due, looks at the members' statistics, decides what happens next, and draws. It
// owns one goroutine per member (App.Run) and one that reads alerts and dead
// letters back.
//
//	feed ──► orders ──► stock-1 stock-2 ──► stock-alerts ──┐
//	                ──► fraud-1         ──► fraud-alerts ──┼──► reader ──► check
//	                ──► recommendations-1     orders.dlq ──┘                 ▲
//	file ────────────────────────────────────────────────────────────────────┘
//
// Like everything above the wall it knows brokers by their address only, and
// runs on any that speaks the Kafka protocol.
//
// Left out on purpose: members that crash. A crash makes records come again (at
// least once), and states kept in memory would count them twice.
package demo
