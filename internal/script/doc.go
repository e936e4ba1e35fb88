// Package script runs the scripts by which pure state machines are tested. Only tests
// import it.
//
// A script is a text file of blocks: comments that begin with '#', commands, a line
// "----", and what the commands print; an empty line ends a block. The test fails when they
// print something else. With the flag -rewrite the file gets the new text instead, and the
// difference is read as code.
//
// A command is a name, words, and options (key=value). What it does is the caller's.
package script
