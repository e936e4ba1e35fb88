//go:build unix

package interop

import (
	"os"
	"path/filepath"
	"testing"
)

// installed is what interop/run puts below .work.
type installed struct {
	weir         string // the binary
	applications string // the test binary of the root package
	python       string // interpreter of the virtual environment
	member       string // the member program of package member
	transactor   string // the transactional program of package transactor
	sarama       string // its sister of the module sarama
	old          string // folder of the jars of an older Java client
	jars         string // folder of Apache Kafka's jars
	classes      string // folder of the classes compiled from the folder java
}

// require skips the test unless interop/run has set the place.
func require(t *testing.T) installed {
	t.Helper()
	dir := os.Getenv("WEIR_INTEROP")
	if dir == "" {
		t.Skip("needs Python packages, Java and Apache Kafka: run interop/run, which installs them")
	}
	in := installed{
		weir:         filepath.Join(dir, "weir"),
		applications: filepath.Join(dir, "applications.test"),
		python:       filepath.Join(dir, "python", "bin", "python"),
		member:       filepath.Join(dir, "member"),
		transactor:   filepath.Join(dir, "transactor"),
		sarama:       filepath.Join(dir, "sarama"),
		old:          filepath.Join(dir, "old"),
		jars:         filepath.Join(dir, "jars"),
		classes:      filepath.Join(dir, "classes"),
	}
	for _, path := range []string{in.weir, in.applications, in.python, in.member, in.transactor, in.sarama, in.old, in.jars, in.classes} {
		if _, err := os.Stat(path); err != nil {
			t.Fatalf("interop/run should have made it: %v", err)
		}
	}
	return in
}
