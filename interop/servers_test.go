//go:build unix

package interop

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// guideAddress is where the guide's programs look for the broker.
const guideAddress = "localhost:9092"

// server is a broker that can be started again where it was, on its data.
type server struct {
	*process
	t       *testing.T
	address string
	admin   string // address of weir's own answers; Apache Kafka has none
	again   func() *process
}

func serve(t *testing.T, address string, again func() *process) *server {
	t.Helper()
	s := &server{t: t, address: address, again: again}
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.process = s.again()
	s.in.Close()
	answers(s.t, s.process, s.address)
}

// weirServe starts a fresh broker on an address, with settings KEY=VALUE.
func weirServe(t *testing.T, in installed, address string, settings ...string) *server {
	t.Helper()
	admin := freeAddress(t)
	args := []string{"serve", "--listen", address, "--admin", admin, "--data", t.TempDir()}
	for _, s := range settings {
		args = append(args, "--config", s)
	}
	s := serve(t, address, func() *process { return start(t, "weir serve", nil, in.weir, args...) })
	s.admin = admin
	return s
}

// freeAddress is a loopback address nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// answers waits until a broker answers on an address.
func answers(t *testing.T, p *process, address string) {
	t.Helper()
	cl := client(t, address)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		try, stop := context.WithTimeout(ctx, 5*time.Second)
		err := cl.Ping(try)
		stop()
		if err == nil {
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended before it answered; it printed:\n%s", p.name, p.output())
		case <-ctx.Done():
			t.Fatalf("%s does not answer on %s: %v; it printed:\n%s", p.name, address, err, p.output())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func client(t *testing.T, address string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(address)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func createTopic(t *testing.T, address, name string, partitions int32) {
	t.Helper()
	adm := kadm.NewClient(client(t, address))
	if _, err := adm.CreateTopic(t.Context(), partitions, 1, nil, name); err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
}

// apacheKafka starts a fresh Apache Kafka, one node, with settings KEY=VALUE.
func apacheKafka(t *testing.T, in installed, settings ...string) *server {
	t.Helper()
	address, controller, dir := freeAddress(t), freeAddress(t), t.TempDir()
	properties := strings.Join(append([]string{
		"process.roles=broker,controller",
		"node.id=1",
		"controller.quorum.bootstrap.servers=" + controller,
		"listeners=PLAINTEXT://" + address + ",CONTROLLER://" + controller,
		"advertised.listeners=PLAINTEXT://" + address + ",CONTROLLER://" + controller,
		"controller.listener.names=CONTROLLER",
		"log.dirs=" + filepath.Join(dir, "log"),
		"offsets.topic.replication.factor=1",
		"transaction.state.log.replication.factor=1",
		"transaction.state.log.min.isr=1",
		"share.coordinator.state.topic.replication.factor=1",
		"share.coordinator.state.topic.min.isr=1",
		"group.initial.rebalance.delay.ms=0",
	}, settings...), "\n")
	config := filepath.Join(dir, "server.properties")
	if err := os.WriteFile(config, []byte(properties), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "kafka format", nil, "", "java", javaArgs(in, "kafka.tools.StorageTool",
		"format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", config, "--standalone")...)
	return serve(t, address, func() *process { return start(t, "kafka", nil, "java", javaArgs(in, "kafka.Kafka", config)...) })
}

// javaArgs runs a class of Apache Kafka's jars, or of the folder java.
func javaArgs(in installed, class string, args ...string) []string {
	jvm := []string{"-Xmx512M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", filepath.Join(in.jars, "*") + ":" + in.classes, class}
	return append(jvm, args...)
}

// java runs one of Apache Kafka's tools to its end.
func java(t *testing.T, in installed, stdin, class string, args ...string) string {
	t.Helper()
	return run(t, class, nil, stdin, "java", javaArgs(in, class, args...)...)
}

// python runs one of the scripts in the folder python to its end.
func python(t *testing.T, in installed, script string, args ...string) string {
	t.Helper()
	return run(t, script, nil, "", in.python, append([]string{filepath.Join("python", script)}, args...)...)
}

// endOffset is the number of records that a topic holds, all partitions.
func endOffset(t *testing.T, address, topic string) (n int64) {
	t.Helper()
	ends, err := kadm.NewClient(client(t, address)).ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(fmt.Errorf("end offsets of %s: %w", topic, err))
	}
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}
