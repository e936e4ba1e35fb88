package house

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// pkg is what the go command says of one package of the module.
type pkg struct {
	Dir         string
	ImportPath  string
	Name        string
	Doc         string
	GoFiles     []string
	TestGoFiles []string
	XTestGoFiles,
	Imports,
	Deps []string

	rel string // the import path below the module's, "." for the root
}

var loadPackages = sync.OnceValues(func() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-json=Dir,ImportPath,Name,Doc,GoFiles,TestGoFiles,XTestGoFiles,Imports,Deps", module+"/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	var all []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			return nil, err
		}
		p.rel, _ = within(p.ImportPath)
		all = append(all, p)
	}
	return all, nil
})

func packages(t *testing.T) []pkg {
	t.Helper()
	all, err := loadPackages()
	if err != nil || len(all) == 0 {
		t.Fatalf("go list found %d packages: %v", len(all), err)
	}
	return all
}

// within tells whether an import path is the module's, and its path below it.
func within(path string) (rel string, ours bool) {
	if path == module {
		return ".", true
	}
	return strings.CutPrefix(path, module+"/")
}

// root is the module's directory.
func root(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// skipped tells which folders are not the module's source: what git ignores,
// test data, and modules of their own (bench/kbench).
func skipped(path string) bool {
	switch filepath.Base(path) {
	case ".git", ".work", "testdata", "weir-data":
		return true
	}
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	return err == nil
}

// files are the files of the module with one of the endings, relative to its
// directory.
func files(t *testing.T, endings ...string) []string {
	t.Helper()
	var found []string
	dir := root(t)
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if path != dir && skipped(path) {
				return filepath.SkipDir
			}
			return nil
		}
		for _, e := range endings {
			if strings.HasSuffix(path, e) {
				rel, err := filepath.Rel(dir, path)
				if err != nil {
					return err
				}
				found = append(found, rel)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
