//go:build unix

package interop

import (
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The protocols that a member can be told to use.
const (
	eager       = "classic-eager"
	cooperative = "classic-cooperative"
	consumer    = "consumer" // KIP-848
)

// migration is the story of a group that moves from the classic protocol to the
// consumer protocol and back.
const migration = "migration"

// library is a client library with a member program.
type library struct {
	name      string
	protocols []string
	command   func(in installed, member string) (path string, args []string)
	// keepsPlace: a static member of the consumer protocol cannot come back
	// before its session is over. franz-go leaves without its instance id, which
	// weir understands and Apache Kafka refuses.
	keepsPlace bool
}

// libraries are all that the group stories run with. kafka-python (3.0.12) does
// not speak the consumer protocol. The last two have members of all others in one
// group.
func libraries() []library {
	all := []string{eager, cooperative, consumer, migration}
	python := func(library string) func(installed, string) (string, []string) {
		return func(in installed, _ string) (string, []string) {
			return in.python, []string{filepath.Join("python", "member.py"), "-library", library}
		}
	}
	four := []library{
		{name: "franz-go", protocols: all, command: func(in installed, _ string) (string, []string) { return in.member, nil }},
		{name: "confluent-kafka", protocols: all, command: python("confluent-kafka")},
		{name: "java", protocols: all, command: func(in installed, _ string) (string, []string) {
			return "java", []string{"-Xmx128M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
				"-cp", filepath.Join(in.jars, "*") + ":" + in.classes, "Member"}
		}},
		{name: "kafka-python", protocols: []string{eager, cooperative}, command: python("kafka-python")},
	}
	mixed := func(protocol string, of []library) library {
		return library{name: "mixed", protocols: []string{protocol}, command: func(in installed, member string) (string, []string) {
			return of[strings.Index("abcd", member)%len(of)].command(in, member)
		}}
	}
	return append(four, mixed(cooperative, four), mixed(consumer, four[:3]))
}

// member is one process in the group of a story. Its name is its client id.
type member struct {
	*process
	name     string
	instance string        // of a static member
	session  time.Duration // timeout of its session in the classic protocol
	protocol string
}

// join starts a member; a member that has been there before comes back.
func (s *story) join(m *member) {
	s.t.Helper()
	path, args := s.library.command(s.in, m.name)
	args = append(args, "-bootstrap", s.server.address, "-group", s.name, "-topic", s.name, "-protocol", m.protocol,
		"-name", m.name, "-session", strconv.FormatInt(m.session.Milliseconds(), 10))
	if m.instance != "" {
		args = append(args, "-instance", m.instance)
	}
	m.process = startTaken(s.t, s.name+" "+m.name, func(line string) bool { return s.journal.line(m.name, line) }, nil, path, args...)
	m.in.Close()
}

// crash ends a member with kill -9.
func (s *story) crash(m *member) {
	m.kill()
	s.journal.add(entry{member: m.name, Event: killed, At: time.Now().UnixNano()})
}

// leave ends a member with SIGTERM, and wants to hear that it left.
func (s *story) leave(m *member) {
	s.t.Helper()
	began := time.Now()
	m.terminate()
	if len(s.journal.since(began, m.name, "left")) == 0 {
		s.t.Fatalf("%s did not leave; it printed:\n%s", m.process.name, m.output())
	}
}
