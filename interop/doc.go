// Package interop proves with other people's programs that weir is what it says.
//
// Two claims stand or fall here. Below the wall: clients in other languages work
// on weir's broker unchanged (the guide's Python programs to the letter,
// confluent-kafka, the Java console tools). Above the wall: weir's own
// applications and commands work unchanged on Apache Kafka.
//
// The tests need Python packages, Java and Apache Kafka's jars. The script run,
// beside this file, installs all of it below .work, builds weir, and runs the
// tests with the environment they want; there none may skip. In go test ./...
// they skip and say so.
//
// Every process is started here, on loopback, and ended by its id.
package interop
