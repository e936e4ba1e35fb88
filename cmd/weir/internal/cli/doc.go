// Package cli is the command line of weir: the commands, their flags, what they
// print, and the code they exit with.
//
// A command is a function of an [Env]: arguments, standard streams, environment
// variables, clock. Nothing here reaches for os.Args, os.Stdout or os.Exit, so
// that a test runs a command in its own process. [Main] runs one command and
// returns its exit code; the caller owns signals and passes them as the
// cancellation of a context.
//
// The client commands (topic, produce, consume, group, txn) speak only the Kafka
// protocol and work against any Kafka-compatible broker; of these, group timeline
// alone asks the admin address of weir's own. Only serve (and the
// demonstration) opens the embedded broker; it is the place where the two sides
// of the wall meet. Those that care for a data directory (fsck, backup, restore)
// go through package broker too.
//
// Contracts, from the first command on:
//
//  1. Standard output carries data and nothing else; everything said to a
//     person goes to standard error. With -O json or yaml it is one document,
//     of consume one per line, that begins with apiVersion and kind.
//  2. What is listed has one row per item; an item that failed has its reason
//     in the column error, the others are still answered, and the exit code is 1.
//  3. Exit codes are those of the table in exit.go.
//  4. Nothing creates a topic by looking at it: requests never ask for
//     auto-creation, and a name is looked up before it is produced to.
//  5. What consume -g has printed is committed before it exits, what it has not
//     printed is not.
//  6. A destructive command shows what it would touch, asks on a terminal, and
//     refuses without --yes elsewhere. What can be taken back is not asked for:
//     group reset only shows, unless --execute, and then leaves a file for its undo.
//  7. A reader of standard output that goes away (a broken pipe) ends a command
//     quietly; what failed besides it still has its exit code. An archive that
//     its reader did not take whole is a failure.
//
// Left out on purpose: contexts, and TLS and SASL flags, come with the parts of the
// broker that they need.
package cli
