package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/gatepost/gatepost"

// file is one file of the repository.
type file struct {
	path string // from the root, with slashes
	text []byte
}

// source is one parsed Go file of the module (not of the modules nested in it).
type source struct {
	file
	fset *token.FileSet
	ast  *ast.File
}

func (s source) dir() string         { return path.Dir(s.path) }
func (s source) isTest() bool        { return strings.HasSuffix(s.path, "_test.go") }
func (s source) lines() int          { return bytes.Count(s.text, []byte("\n")) }
func (s source) line(n ast.Node) int { return s.fset.Position(n.Pos()).Line }

// imports lists what the file imports.
func (s source) imports() []string {
	var out []string
	for _, spec := range s.ast.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err == nil {
			out = append(out, p)
		}
	}
	return out
}

// skipped are folders that are made, not written.
var skipped = map[string]bool{".git": true, "bin": true, "dist": true, "data": true, "node_modules": true}

// files reads every text file of the repository.
func files(t *testing.T) []file {
	t.Helper()
	all, err := readOnce()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Fatalf("only %d files found: is this the repository?", len(all))
	}
	return all
}

// sources parses every Go file of the module, whatever its build tags.
func sources(t *testing.T) []source {
	t.Helper()
	all, err := parseOnce()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var (
	readOnce  = sync.OnceValues(readAll)
	parseOnce = sync.OnceValues(parseAll)
)

func readAll() ([]file, error) {
	root := filepath.Join("..", "..")
	var out []file
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && skipped[d.Name()] {
			return fs.SkipDir
		}
		if !d.Type().IsRegular() || d.Name() == ".git" { // a file in a worktree
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if bytes.IndexByte(text, 0) >= 0 {
			return nil // not text
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return err
		}
		out = append(out, file{filepath.ToSlash(rel), text})
		return nil
	})
	return out, err
}

func parseAll() ([]source, error) {
	all, err := readOnce()
	if err != nil {
		return nil, err
	}
	nested := map[string]bool{}
	for _, f := range all {
		if path.Base(f.path) == "go.mod" && f.path != "go.mod" {
			nested[path.Dir(f.path)] = true
		}
	}
	var out []source
	for _, f := range all {
		if !strings.HasSuffix(f.path, ".go") || within(f.path, nested) || strings.Contains(f.path, "testdata/") {
			continue
		}
		fset := token.NewFileSet()
		tree, err := parser.ParseFile(fset, f.path, f.text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		out = append(out, source{f, fset, tree})
	}
	return out, nil
}

func within(p string, dirs map[string]bool) bool {
	for d := path.Dir(p); d != "."; d = path.Dir(d) {
		if dirs[d] {
			return true
		}
	}
	return false
}
