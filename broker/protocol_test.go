package broker

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write doc/protocol.md anew")

// TestProtocolPage keeps doc/protocol.md true to the API table.
func TestProtocolPage(t *testing.T) {
	b := openForTest(t)
	var page bytes.Buffer
	page.WriteString(`# What the broker serves

Generated from the table in ` + "`broker/table.go` and `broker/coordinator_apis.go`" + `; do not edit:
` + "`go test ./broker -run TestProtocolPage -update`" + ` writes it anew.

The version ranges are those of Apache Kafka 4.3.1. A key or version that is not
here closes the connection, as in Kafka. Where behaviour differs from Kafka's,
[deviations.md](deviations.md) says how.

| key | API | versions | largest request | operation for ACLs (later) | quota (later) |
|--:|---|---|--:|---|---|
`)
	for i := range b.apis.rows {
		a := &b.apis.rows[i]
		versions := fmt.Sprintf("%d–%d", a.min, a.max)
		if a.fromZero {
			versions += ", told as 0–" + fmt.Sprint(a.max)
		}
		limit := "socket.request.max.bytes"
		if a.limit > 0 {
			limit = sizeText(a.limit)
		}
		fmt.Fprintf(&page, "| %d | %s | %s | %s | %s | %s |\n", a.key, a.name(), versions, limit, a.acl, a.throttle)
	}
	path := filepath.Join("..", "doc", "protocol.md")
	if *update {
		if err := os.WriteFile(path, page.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.ReplaceAll(string(got), "\r\n", "\n") != page.String() {
		t.Error("doc/protocol.md is not what the table says; run this test with -update")
	}
}

func sizeText(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// TestRangesAreKafkas: nothing is told that Apache Kafka 4.3.1 does not serve.
func TestRangesAreKafkas(t *testing.T) {
	kafka := map[int16][2]int16{
		0: {0, 13}, 1: {4, 18}, 2: {1, 11}, 3: {0, 13}, 8: {2, 10}, 9: {1, 10}, 10: {0, 6}, 11: {0, 9}, 12: {0, 4},
		13: {0, 5}, 14: {0, 5}, 15: {0, 6}, 16: {0, 5}, 18: {0, 4}, 19: {2, 7}, 20: {1, 6}, 21: {0, 2}, 22: {0, 5}, 23: {2, 4}, 24: {0, 5}, 25: {0, 4}, 26: {0, 5}, 27: {1, 2}, 28: {0, 5}, 32: {1, 4}, 33: {0, 2}, 37: {0, 3}, 42: {0, 2}, 44: {0, 1}, 47: {0, 0}, 60: {0, 2}, 61: {0, 0}, 65: {0, 0}, 66: {0, 2}, 68: {0, 1}, 69: {0, 1}, 74: {0, 1},
	}
	told := openForTest(t).apis.ranges()
	for _, k := range told {
		want, ok := kafka[k.ApiKey]
		if !ok || k.MinVersion != want[0] || k.MaxVersion != want[1] {
			t.Errorf("%s: %d–%d told, Kafka serves %v", apiName(k.ApiKey), k.MinVersion, k.MaxVersion, want)
		}
	}
	if len(told) != len(kafka) {
		t.Errorf("%d APIs are told, want %d", len(told), len(kafka))
	}
}
