package pacetest

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// Main runs a package's tests, or, in a process started by [StartProcess], a backend.
// Each package that uses pacetest calls it from its TestMain.
func Main(m *testing.M) {
	ServeProcess(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })
	runManyAtOnce()
	code := m.Run()
	os.RemoveAll(buildDir)
	os.Exit(code)
}

// runManyAtOnce lets three parallel tests run for each processor, unless -parallel says another number: they mostly
// wait, for timeouts and for other processes.
func runManyAtOnce() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		flag.Set("test.parallel", strconv.Itoa(3*runtime.GOMAXPROCS(0)))
	}
}

// buildDir holds the binary of this run; [Main] removes it.
var buildDir string

// Binary returns the path of the pace under test: $PACE_BINARY, or one built from this
// checkout with the race detector, unless the package runs by [MainPlain], once per run.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("PACE_BINARY"); path != "" {
		return filepath.Abs(path)
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	if buildDir, err = os.MkdirTemp("", "pacetest"); err != nil {
		return "", err
	}
	path := filepath.Join(buildDir, "pace")
	cmd := exec.Command("go", slices.Concat([]string{"build"}, buildFlags, []string{"-o", path, "pace/cmd/pace"})...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build pace in %s: %w\n%s", root, err, out)
	}
	return path, nil
})

// Root returns the directory of the module pace: the nearest one above the test's own
// package, which is where go test runs it.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(mod, []byte("module pace\n")) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("no go.mod of module pace above the test")
}
