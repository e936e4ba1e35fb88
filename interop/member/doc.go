// Command member is one member of a consumer group, of the client franz-go: the
// Go program among those that the group stories of package interop start.
//
// It reads nothing but its flags, commits what it has read after each poll, and
// prints one line of JSON for each thing that happens to it (joined, assigned,
// revoked, lost, record, committed, refused, failed, left) before it goes on. SIGTERM
// makes it leave. Its sisters, python/member.py and java/Member.java, print the
// same lines.
package main
