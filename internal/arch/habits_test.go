package arch

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// maxLines is where a Go file must be split; it is looked at for that from half of it on.
const maxLines = 800

func TestFilesStaySmall(t *testing.T) {
	for _, s := range sources(t) {
		if n := s.lines(); n > maxLines {
			t.Errorf("%s has %d lines: split it by subject, a file may have %d", s.path, n, maxLines)
		}
	}
}

func TestEveryPackageIntroducesItself(t *testing.T) {
	comments := map[string][]string{}
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		dir := s.dir()
		if _, ok := comments[dir]; !ok {
			comments[dir] = nil
		}
		if s.ast.Doc != nil {
			comments[dir] = append(comments[dir], s.path)
			text := s.ast.Doc.Text()
			want := "Package " + s.ast.Name.Name + " "
			if s.ast.Name.Name == "main" {
				want = "Command "
			}
			if !strings.HasPrefix(text, want) {
				t.Errorf("%s: the package comment begins with %q", s.path, want)
			}
		}
	}
	for dir, in := range comments {
		switch len(in) {
		case 0:
			t.Errorf("%s has no package comment: say what it is and what it promises", dir)
		case 1:
		default:
			t.Errorf("%s has %d package comments (%s): readers see only one of them", dir, len(in), strings.Join(in, ", "))
		}
	}
}

// TestTestsDoNotSleep allows time.Sleep in a test file only where testing/synctest makes time: elsewhere a sleep is either
// too short on a slow machine or a waste on a fast one. Poll for what is expected, with a deadline.
func TestTestsDoNotSleep(t *testing.T) {
	for _, s := range sources(t) {
		if !s.isTest() || slices.Contains(s.imports(), "testing/synctest") {
			continue
		}
		for _, call := range calls(s.ast, "time", "Sleep") {
			t.Errorf("%s:%d: time.Sleep in a test outside a synctest bubble", s.path, s.line(call))
		}
	}
}

// TestOnlyMainEndsTheProcess is here too, beside the linter, because a library that ends the process loses what others
// have not committed.
func TestOnlyMainEndsTheProcess(t *testing.T) {
	for _, s := range sources(t) {
		if s.ast.Name.Name == "main" || s.isTest() {
			continue
		}
		for _, f := range [][2]string{{"os", "Exit"}, {"log", "Fatal"}, {"log", "Fatalf"}, {"log", "Fatalln"}} {
			for _, call := range calls(s.ast, f[0], f[1]) {
				t.Errorf("%s:%d: %s.%s: only main ends the process", s.path, s.line(call), f[0], f[1])
			}
		}
	}
}

// calls finds the uses of pkg.name in a file.
func calls(f *ast.File, pkg, name string) []ast.Node {
	var out []ast.Node
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == name {
			if id, ok := sel.X.(*ast.Ident); ok && id.Name == pkg {
				out = append(out, sel)
			}
		}
		return true
	})
	return out
}

// foreign finds what ties the repository to one machine or one way to fetch modules. (Written so as not to find itself.)
func foreign() map[string]*regexp.Regexp {
	hosts := []string{`proxy\.golang`, `sum\.golang`, `goproxy\.`, `npm` + `js\.`, `py` + `pi\.org`, `python` + `hosted`, `deb\.debian`, `crates\.` + `io`}
	return map[string]*regexp.Regexp{
		"names a package registry: tools find theirs by their own settings": regexp.MustCompile(`(?i)` + strings.Join(hosts, "|")),
		"names a path of one machine":                                       regexp.MustCompile(`(^|[\s"'=:(])/(work|root|home|tmp)/`),
	}
}

func TestNothingNamesOneMachine(t *testing.T) {
	for _, f := range files(t) {
		if strings.HasSuffix(f.path, "go.sum") {
			continue
		}
		for i, line := range strings.Split(string(f.text), "\n") {
			for what, re := range foreign() {
				if hit := re.FindString(line); hit != "" {
					t.Errorf("%s:%d: %q %s", f.path, i+1, hit, what)
				}
			}
		}
	}
}

func TestForeignWordsAreFound(t *testing.T) {
	for _, bad := range []string{"see https://proxy." + "golang.org/x", `path := "/` + `work/main"`, "GOPROXY=https://py" + "pi.org", "cd /" + "tmp/x"} {
		found := false
		for _, re := range foreign() {
			found = found || re.MatchString(bad)
		}
		if !found {
			t.Errorf("%q passes", bad)
		}
	}
	for _, good := range []string{"/var/lib/gatepost", "network/work/", "a/tmp/b", "https://go.dev/dl"} {
		for what, re := range foreign() {
			if re.MatchString(good) {
				t.Errorf("%q %s", good, what)
			}
		}
	}
}

// TestEveryMetricIsInTheManual keeps the table of docs/operations.md whole: a metric that nobody can look up helps nobody.
func TestEveryMetricIsInTheManual(t *testing.T) {
	const manual = "docs/operations.md"
	var table string
	for _, f := range files(t) {
		if f.path == manual {
			table = string(f.text)
		}
	}
	made := map[string]bool{}
	for _, s := range sources(t) {
		if s.isTest() || s.dir() == "internal/metrics" {
			continue
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok || !slices.Contains([]string{"Counter", "CounterFunc", "Gauge", "GaugeFunc", "Histogram"}, sel.Sel.Name) {
				return true
			}
			lit, ok := call.Args[0].(*ast.BasicLit)
			if !ok || !strings.HasPrefix(lit.Value, `"gatepost_`) {
				t.Errorf("%s:%d: a metric's name is a literal that begins with gatepost_", s.path, s.line(call))
				return true
			}
			name := strings.Trim(lit.Value, `"`)
			made[name] = true
			if !strings.Contains(table, "`"+name+"`") && !strings.Contains(table, "`"+name+"{") {
				t.Errorf("%s:%d: %s has no line in %s", s.path, s.line(call), name, manual)
			}
			return true
		})
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `(gatepost_[a-z_]+)").FindAllStringSubmatch(table, -1) {
		if !made[m[1]] {
			t.Errorf("%s tells of %s, which nothing makes", manual, m[1])
		}
	}
}
