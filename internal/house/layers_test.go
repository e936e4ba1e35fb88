package house

import (
	"slices"
	"strings"
	"testing"
)

const module = "github.com/weirstream/weir"

// layers lists for each package of the module the packages of the module that
// its code, tests left out, may import ("." is the module's root). It is the
// picture in ARCHITECTURE.md; the wall is the line between broker and what
// stands above it: nothing above may import what lies below.
var layers = map[string][]string{
	// Below the wall.
	"internal/vfs":      {},
	"internal/batch":    {},
	"internal/journal":  {"internal/vfs", "internal/batch"},
	"internal/storage":  {"internal/vfs", "internal/batch", "internal/journal"},
	"internal/meta":     {"internal/batch"},
	"internal/assignor": {},
	"internal/group":    {"internal/batch", "internal/assignor"},
	"internal/txn":      {},
	"broker":            {"internal/vfs", "internal/batch", "internal/storage", "internal/meta", "internal/group", "internal/txn"},
	"broker/brokertest": {"broker", "internal/vfs", "internal/meta"},

	// Above the wall: only the Kafka protocol, through franz-go.
	".":                  {},
	"internal/demo":      {".", "internal/demo/shop"},
	"internal/demo/shop": {},

	// The binary, where both meet.
	"cmd/weir":              {"cmd/weir/internal/cli"},
	"cmd/weir/internal/cli": {"broker", "internal/demo", "internal/meta", "internal/storage", "internal/vfs"},
	"bench/relay":           {"."},
	"bench/spike":           {"internal/vfs"},

	// Tests over the whole.
	"internal/house":  {},
	"internal/sim":    {},
	"internal/script": {},
	"interop":         {},
	"interop/member":  {},

	"interop/transactor": {},
}

func TestLayers(t *testing.T) {
	for _, p := range packages(t) {
		allowed, ok := layers[p.rel]
		if !ok {
			t.Errorf("package %s has no row in the table of layers; say there what it may import", p.rel)
			continue
		}
		for _, imp := range p.Imports {
			rel, ours := within(imp)
			if ours && !slices.Contains(allowed, rel) {
				t.Errorf("package %s imports %s, which its layer does not allow (allowed: %s)",
					p.rel, rel, strings.Join(allowed, ", "))
			}
		}
	}
}

// TestWall is the rule behind the table: above the wall everything speaks the
// protocol, so neither the broker nor what is below it may be linked in.
func TestWall(t *testing.T) {
	below := []string{"broker", "internal/vfs", "internal/batch", "internal/journal", "internal/storage", "internal/meta", "internal/group", "internal/txn", "internal/assignor"}
	for _, p := range packages(t) {
		if p.rel != "." && !strings.HasPrefix(p.rel, "internal/demo") {
			continue
		}
		for _, dep := range p.Deps {
			if rel, ours := within(dep); ours && slices.Contains(below, rel) {
				t.Errorf("package %s, above the wall, reaches %s, below it", p.rel, rel)
			}
		}
	}
}

func TestLayerTableHasNoDeadRows(t *testing.T) {
	have := map[string]bool{}
	for _, p := range packages(t) {
		have[p.rel] = true
	}
	for rel := range layers {
		if !have[rel] {
			t.Errorf("the table of layers has a row for %s, which does not exist", rel)
		}
	}
}

func TestPackageNames(t *testing.T) {
	forbidden := []string{"util", "utils", "common", "pkg", "types", "helpers", "misc", "base", "shared"}
	for _, p := range packages(t) {
		for _, part := range strings.Split(p.rel, "/") {
			if slices.Contains(forbidden, part) {
				t.Errorf("package %s: the name %q says nothing of what is in it", p.rel, part)
			}
		}
	}
}
