package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	notSlug = regexp.MustCompile(`[^a-z0-9 _-]`)
	fenced  = regexp.MustCompile("(?s)```.*?```")
)

// TestLinks: a relative link in a page names a file that is there and, with a
// fragment, a heading of it.
func TestLinks(t *testing.T) {
	dir := root(t)
	for _, name := range files(t, ".md") {
		page, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		text := fenced.ReplaceAllString(string(page), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			path := filepath.Join(dir, name)
			if target != "" {
				path = filepath.Join(filepath.Dir(path), target)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s links to %s, which is not there", name, m[1])
				continue
			}
			if fragment != "" && !hasHeading(t, path, fragment) {
				t.Errorf("%s links to %s: no such heading", name, m[1])
			}
		}
	}
}

func hasHeading(t *testing.T, path, fragment string) bool {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range heading.FindAllStringSubmatch(string(page), -1) {
		slug := notSlug.ReplaceAllString(strings.ToLower(m[1]), "")
		if strings.ReplaceAll(slug, " ", "-") == fragment {
			return true
		}
	}
	return false
}

// TestNoMachineInTree: a page or a script that names a path of one machine, or
// where packages are fetched from, is wrong on every other.
func TestNoMachineInTree(t *testing.T) {
	dir := root(t)
	home, _ := os.UserHomeDir()
	words := []string{dir + string(filepath.Separator)}
	if len(home) > 1 {
		words = append(words, home+string(filepath.Separator))
	}
	words = append(words, "proxy.golang"+".org", "pypi"+".org", "repo.maven"+".apache.org", "deb.debian"+".org", "registry.npmjs"+".org")
	for _, name := range files(t, ".go", ".md", ".sh", ".py", ".yaml", ".yml", ".xml", ".java", "/run") {
		src, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range words {
			if strings.Contains(string(src), w) {
				t.Errorf("%s names %q", name, w)
			}
		}
	}
}
