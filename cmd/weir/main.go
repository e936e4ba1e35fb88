// Command weir is the broker and its command line in one binary.
package main

func main() {}
