package house

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

const (
	maxFileLines     = 1000
	maxFunctionLines = 100
)

// TestPackageDocs wants one doc comment per package, attached to the package
// clause of one file (a blank line below it detaches it, silently).
func TestPackageDocs(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 {
			continue // a package of tests only
		}
		var with []string
		for _, name := range p.GoFiles {
			f := parse(t, filepath.Join(p.Dir, name), parser.PackageClauseOnly|parser.ParseComments)
			if f.Doc != nil {
				with = append(with, name)
			}
		}
		if len(with) != 1 {
			t.Errorf("package %s has %d doc comments (%s), want one", p.rel, len(with), strings.Join(with, ", "))
			continue
		}
		start := "Package " + p.Name + " "
		if p.Name == "main" {
			start = "Command "
		}
		if !strings.HasPrefix(p.Doc, start) {
			t.Errorf("package %s: the doc comment begins %q, want %q", p.rel, firstLine(p.Doc), start+"…")
		}
	}
}

func TestLengths(t *testing.T) {
	dir := root(t)
	for _, name := range files(t, ".go") {
		path := filepath.Join(dir, name)
		src, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(src, []byte("\n")); n > maxFileLines {
			t.Errorf("%s has %d lines, at most %d", name, n, maxFileLines)
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, path, src, parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Body == nil {
				continue
			}
			if n := fset.Position(fn.End()).Line - fset.Position(fn.Pos()).Line + 1; n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, at most %d", name, fn.Name.Name, n, maxFunctionLines)
			}
		}
	}
}

// TestNoSleepInTests: a test that sleeps is slow, and flaky on a loaded machine.
// Virtual time or a channel says exactly when. In packages whose tests run in
// bubbles of testing/synctest a sleep costs nothing and is exact.
func TestNoSleepInTests(t *testing.T) {
	for _, p := range packages(t) {
		var sleeps []string
		bubbles := false
		for _, name := range append(p.TestGoFiles, p.XTestGoFiles...) {
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Errorf("%s/%s: %v", p.rel, name, err)
				continue
			}
			bubbles = bubbles || imports(f, "testing/synctest")
			ast.Inspect(f, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == "Sleep" {
					if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" {
						sleeps = append(sleeps, fset.Position(sel.Pos()).String())
					}
				}
				return true
			})
		}
		if !bubbles && len(sleeps) > 0 {
			t.Errorf("%s sleeps; use testing/synctest or wait for the event", strings.Join(sleeps, ", "))
		}
	}
}

func imports(f *ast.File, path string) bool {
	for _, imp := range f.Imports {
		if imp.Path.Value == strconv.Quote(path) {
			return true
		}
	}
	return false
}

// TestNoGlobalState: no init functions; what a package exports is not mutable.
func TestNoGlobalState(t *testing.T) {
	for _, p := range packages(t) {
		for _, name := range p.GoFiles {
			f := parse(t, filepath.Join(p.Dir, name), parser.SkipObjectResolution)
			for _, d := range f.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if d.Recv == nil && d.Name.Name == "init" {
						t.Errorf("%s/%s has an init function", p.rel, name)
					}
				case *ast.GenDecl:
					checkExportedVars(t, p.rel+"/"+name, d)
				}
			}
		}
	}
}

// checkExportedVars lets pass errors and values of fixed identity only.
func checkExportedVars(t *testing.T, where string, d *ast.GenDecl) {
	if d.Tok != token.VAR {
		return
	}
	for _, spec := range d.Specs {
		for _, id := range spec.(*ast.ValueSpec).Names {
			if id.IsExported() && !strings.HasPrefix(id.Name, "Err") && id.Name != "MetadataTopic" {
				t.Errorf("%s exports the variable %s; export a function or a constant", where, id.Name)
			}
		}
	}
}

// TestExamples: each public package shows its use in a runnable example.
func TestExamples(t *testing.T) {
	for _, p := range packages(t) {
		if p.Name == "main" || strings.Contains(p.rel, "internal") || !exports(t, p) {
			continue
		}
		found := false
		for _, name := range append(p.TestGoFiles, p.XTestGoFiles...) {
			f := parse(t, filepath.Join(p.Dir, name), parser.SkipObjectResolution)
			for _, d := range f.Decls {
				fn, ok := d.(*ast.FuncDecl)
				found = found || ok && strings.HasPrefix(fn.Name.Name, "Example")
			}
		}
		if !found {
			t.Errorf("public package %s has no Example function", p.rel)
		}
	}
}

// exports tells whether a package has anything that an example could show.
func exports(t *testing.T, p pkg) bool {
	for _, name := range p.GoFiles {
		f := parse(t, filepath.Join(p.Dir, name), 0)
		if ast.FileExports(f) {
			return true
		}
	}
	return false
}

func parse(t *testing.T, path string, mode parser.Mode) *ast.File {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, mode)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
