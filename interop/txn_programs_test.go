//go:build unix

package interop

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"
)

// flow is a client library with a transactional program, and the version of
// transactions (the feature transaction.version) that it speaks.
type flow struct {
	name    string
	version int
	command func(in installed) (path string, args []string)
	// offsetsFirst: a program has written its offsets when it hangs. The others' libraries
	// keep them back until the end of the transaction.
	offsetsFirst bool
}

// flows are all that the stories of transactions run with. librdkafka 2.16,
// kafka-python 3.0.12 and sarama 1.61 speak version 1 only.
func flows() []flow {
	franz := func(in installed) (string, []string) { return in.transactor, nil }
	java := func(jars func(in installed) string) func(in installed) (string, []string) {
		return func(in installed) (string, []string) {
			return "java", []string{"-Xmx128M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
				"-cp", filepath.Join(jars(in), "*") + ":" + in.classes, "Transactor"}
		}
	}
	python := func(library string) func(installed) (string, []string) {
		return func(in installed) (string, []string) {
			return in.python, []string{filepath.Join("python", "transactor.py"), "-library", library}
		}
	}
	return []flow{
		{"franz-go-v2", 2, franz, false},
		{"franz-go-v1", 1, franz, false},
		{"java-v2", 2, java(func(in installed) string { return in.jars }), true},
		{"java-v1", 1, java(func(in installed) string { return in.old }), true},
		{"confluent-kafka-v1", 1, python("confluent-kafka"), true},
		{"kafka-python-v1", 1, python("kafka-python"), true},
		{"sarama-v1", 1, func(in installed) (string, []string) { return in.sarama, nil }, false},
	}
}

// transactor is a program that obeys the story.
type transactor struct {
	*process
	answers chan answer
}

// answer is what a program says to a command, or of itself.
type answer struct {
	Event string `json:"event"`
	Error string `json:"error"`
	Fatal bool   `json:"fatal"`
}

// transactor starts a program that obeys, and waits until it has its producer id.
func (s *txnStory) transactor(name, id string, timeout time.Duration) *transactor {
	s.t.Helper()
	p := &transactor{answers: make(chan answer, 16)}
	p.process = s.program(name, id, func(line string) bool {
		var a answer
		if json.Unmarshal([]byte(line), &a) != nil || a.Event == "" {
			return false
		}
		p.answers <- a
		return true
	}, "-timeout", strconv.FormatInt(timeout.Milliseconds(), 10))
	if a := p.answer("its start"); a.Event != "ready" {
		s.t.Fatalf("%s: its start: %+v", p.name, a)
	}
	return p
}

func (s *txnStory) program(name, id string, taken func(line string) bool, args ...string) *process {
	s.t.Helper()
	path, first := s.flow.command(s.in)
	args = append(append(first, "-bootstrap", s.server.address, "-id", id, "-flow", strconv.Itoa(s.flow.version)), args...)
	return startTaken(s.t, s.name+" "+name, taken, nil, path, args...)
}

func (p *transactor) answer(to string) answer {
	p.t.Helper()
	select {
	case a := <-p.answers:
		return a
	case <-p.done:
		p.t.Fatalf("%s ended before it answered %s; it printed:\n%s", p.name, to, p.output())
	case <-time.After(patience):
		p.t.Fatalf("%s did not answer %s within %v; it printed:\n%s", p.name, to, patience, p.output())
	}
	return answer{}
}

func (p *transactor) ask(command string) answer {
	p.t.Helper()
	if _, err := io.WriteString(p.in, command+"\n"); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
	return p.answer(command)
}

// does gives commands that must succeed.
func (p *transactor) does(commands ...string) {
	p.t.Helper()
	for _, c := range commands {
		if a := p.ask(c); a.Event != "did" {
			p.t.Fatalf("%s: %s: %+v", p.name, c, a)
		}
	}
}

// send is the command that writes a value to the story's topic.
func (s *txnStory) send(partition int32, value string) string {
	return fmt.Sprintf("send %s %d %s", s.out, partition, value)
}
