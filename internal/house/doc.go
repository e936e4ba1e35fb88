// Package house holds the rules of the source tree as tests: which package may
// import which, that every package says what it is in one doc comment, how long
// a file and a function may grow, that links between the pages resolve, and
// that each public package shows its use in runnable examples.
//
// The package has no code of its own. A rule that blocks a change is answered
// by changing the code, or by an ADR and the rule, never by an exception list
// that grows.
package house
