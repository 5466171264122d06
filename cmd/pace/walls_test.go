package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// wall forbids imports. A path stands for the package and all below it.
type wall struct {
	of     string   // the package, or "" for all of pace
	forbid []string // paths
	except []string // packages that the wall does not hold
	allow  []string // imports that are allowed nevertheless
	direct bool     // only the package's own imports; else also those of what it imports
	why    string
}

const (
	otel        = "go.opentelemetry.io"
	tomlLibrary = "github.com/BurntSushi/toml"
)

// walls are those of docs/architecture.md.
var walls = []wall{
	{of: "pace/lb", forbid: []string{"net/http", otel, "pace"},
		why: "lb decides by time and addresses; it can be lifted into another program"},
	{of: "pace/limiter", forbid: []string{"net/http", otel, "pace"},
		why: "limiter decides by time and keys; it can be lifted into another program"},
	{of: "pace/config", forbid: []string{"net/http", otel, "pace"}, allow: []string{"pace/config/toml"},
		why: "config turns a file into plain values; what they mean is each part's own matter"},
	{of: "pace/config/toml", forbid: []string{"net/http", otel, "pace"},
		why: "toml knows syntax and positions, and no key of pace"},
	{forbid: []string{tomlLibrary}, direct: true,
		except: []string{"pace/config/toml"},
		why:    "the library stops at the first error; config/toml reports them all"},
	{of: "pace/proxy/pipe", forbid: []string{"net/http", otel, "pace"},
		why: "a pipe moves bytes; what they mean is each side's own matter"},
	{of: "pace/proxy/exchange", forbid: []string{otel, "pace/telemetry", "pace/lb", "pace/limiter", "pace/config", "pace/dashboards"},
		why: "an exchange tells what happened by what it returns, and proxy records it"},
	{of: "pace/proxy", forbid: []string{"pace/config"},
		why: "proxy must not depend on how its settings are written down"},
	{of: "pace/telemetry", forbid: []string{"pace/proxy", "pace/lb", "pace/limiter", "pace/config"},
		why: "telemetry knows the record, not who writes it"},
	{of: "pace/dashboards", forbid: []string{"pace/proxy", "pace/lb", "pace/limiter", "pace/config"},
		why: "dashboards show what telemetry publishes, however it came about"},
	{forbid: []string{otel}, direct: true,
		except: []string{"pace/telemetry"},
		why:    "only telemetry speaks OpenTelemetry, so that metric, span and log come from one record"},
}

// listed is a package as go list tells of it.
type listed struct {
	ImportPath    string
	Imports, Deps []string // own imports; all that these lead to
}

func TestWalls(t *testing.T) {
	for _, breach := range breaches(walls, listPackages(t)) {
		t.Error(breach)
	}
}

func listPackages(t *testing.T) (list []listed) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Imports,Deps", "pace/...").Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		t.Fatalf("go list: %v: %s", err, exit.Stderr)
	} else if err != nil {
		t.Fatalf("go list: %v", err)
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); err == io.EOF {
			return list
		} else if err != nil {
			t.Fatalf("reading go list: %v", err)
		}
		if below(p.ImportPath, "pace") {
			list = append(list, p)
		}
	}
}

// breaches says what breaks the walls, and which walls stand around nothing.
func breaches(walls []wall, packages []listed) (list []string) {
	for _, w := range walls {
		list = append(list, w.gone(packages)...)
		for _, p := range packages {
			if w.of == p.ImportPath || w.of == "" {
				list = append(list, w.breaches(p)...)
			}
		}
	}
	return list
}

// gone tells of the wall's packages of pace that do not exist: a wall that was left behind
// when its package moved holds nothing.
func (w wall) gone(packages []listed) (list []string) {
	for _, path := range slices.Concat([]string{w.of}, w.forbid, w.except, w.allow) {
		exists := func(p listed) bool { return p.ImportPath == path || path == "pace" }
		if below(path, "pace") && !slices.ContainsFunc(packages, exists) {
			list = append(list, fmt.Sprintf("the wall of %q names %s, which is gone: take it out or name what came instead", w.of, path))
		}
	}
	return list
}

func (w wall) breaches(p listed) (list []string) {
	imports := p.Deps
	if w.direct {
		imports = p.Imports
	}
	for _, path := range imports {
		if belowAny(path, w.forbid) && !belowAny(p.ImportPath, w.except) && !belowAny(path, w.allow) {
			list = append(list, fmt.Sprintf("%s must not import %s: %s", p.ImportPath, path, w.why))
		}
	}
	return list
}

func belowAny(path string, parents []string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool { return below(path, parent) })
}

func below(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, parent+"/")
}

func TestBreaches(t *testing.T) {
	lib := listed{ImportPath: "pace/lib", Imports: []string{"net"}, Deps: []string{"net", "net/http/internal"}}
	app := listed{ImportPath: "pace/app", Imports: []string{"pace/lib"}, Deps: []string{"pace/lib", "net", "net/http/internal"}}
	tests := map[string]struct {
		wall wall
		want []string
	}{
		"nothing forbidden is imported": {wall{of: "pace/lib", forbid: []string{"os"}, why: "x"}, nil},
		"an import of an import counts": {wall{of: "pace/lib", forbid: []string{"net/http"}, why: "x"},
			[]string{"pace/lib must not import net/http/internal: x"}},
		"but not if only direct ones do":    {wall{of: "pace/lib", forbid: []string{"net/http"}, direct: true, why: "x"}, nil},
		"a longer name is another":          {wall{of: "pace/lib", forbid: []string{"ne", "net/htt"}, why: "x"}, nil},
		"a wall around all is around each":  {wall{forbid: []string{"net"}, direct: true, why: "x"}, []string{"pace/lib must not import net: x"}},
		"but not around the excepted":       {wall{forbid: []string{"net"}, except: []string{"pace/lib"}, direct: true}, nil},
		"pace itself may be forbidden":      {wall{of: "pace/app", forbid: []string{"pace"}, why: "x"}, []string{"pace/app must not import pace/lib: x"}},
		"an allowed import is none":         {wall{of: "pace/app", forbid: []string{"pace"}, allow: []string{"pace/lib"}, why: "x"}, nil},
		"a package that is gone is told":    {wall{of: "pace/old"}, []string{`the wall of "pace/old" names pace/old, which is gone: take it out or name what came instead`}},
		"also as what is forbidden":         {wall{of: "pace/lib", forbid: []string{"pace/old"}}, []string{`the wall of "pace/lib" names pace/old, which is gone: take it out or name what came instead`}},
		"packages that are not ours are no": {wall{of: "pace/lib", forbid: []string{otel}}, nil},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := breaches([]wall{tt.wall}, []listed{lib, app}); !slices.Equal(got, tt.want) {
				t.Errorf("%+v: got %q, want %q", tt.wall, got, tt.want)
			}
		})
	}
}
