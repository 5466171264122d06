package main

import (
	"cmp"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// report prints the tables and, if a folder is given, writes them and the plots there.
func (b *bench) report(began time.Time, loadBefore string) error {
	text := b.markdown(began, loadBefore)
	fmt.Print(text)
	if b.out == "" {
		return nil
	}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	for _, s := range scenarios {
		if len(b.results[s.name]) > 0 {
			if err := os.WriteFile(filepath.Join(b.out, s.name+".svg"), b.plot(s), 0o644); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(b.out, "README.md"), []byte(text), 0o644)
}

func (b *bench) markdown(began time.Time, loadBefore string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "# pace beside other proxies\n\n%s Run on %s in %s; load average before it %s.\n\n"+
		"Load, proxy and backend share the cores: CPU per request is the measure, requests/s follow from it.\n\n"+
		"Over TLS all peers have the same certificate (ECDSA P-256), and the client lets each do the same: TLS 1.3, X25519, no "+
		"resumption. So with each request on a new connection, most of the CPU is what no proxy can save that uses crypto/tls "+
		"(the row tls-alone), or net/http as well (nethttp-alone). Where the backend speaks HTTP/2, pace and the bare ReverseProxy, "+
		"whose Transport speaks h2c, carry all requests on one connection.\n\n",
		machine(), began.UTC().Format(time.DateOnly), time.Since(began).Round(time.Second), loadBefore)
	for _, s := range scenarios {
		if len(b.results[s.name]) > 0 {
			fmt.Fprintf(&text, "## %s\n\n", s.title)
			if b.out != "" {
				fmt.Fprintf(&text, "![%s of each peer](%s.svg)\n\n", s.unit, s.name)
			}
			b.table(&text, s)
		}
	}
	b.promises(&text)
	b.about(&text)
	return text.String()
}

func (b *bench) table(text *strings.Builder, s scenario) {
	results := b.results[s.name]
	heads, rule := "| peer |", "|---|"
	for _, c := range s.columns {
		heads, rule = heads+" "+c.head+" |", rule+"---:|"
		if c.ratio {
			heads, rule = heads+" × bare |", rule+"---:|"
		}
	}
	fmt.Fprintf(text, "%s spread |\n%s---:|\n", heads, rule)
	for _, c := range b.contenders {
		samples := results[c.name]
		if len(samples) == 0 {
			continue
		}
		fmt.Fprintf(text, "| %s |", c.name)
		for _, col := range s.columns {
			fmt.Fprintf(text, " %s |", shown(col.verb, median(samples, col.value)))
			if col.ratio {
				fmt.Fprintf(text, " %s |", shown("%.2f", ratio(results, c.name, bare, col.value)))
			}
		}
		lowest := slices.MinFunc(samples, byCost).cost
		fmt.Fprintf(text, " %s |\n", shown("± %.0f %%", 50*(slices.MaxFunc(samples, byCost).cost-lowest)/max(lowest, 1)))
	}
	fmt.Fprintf(text, "\nMedians of %d windows; *spread*: half of what lies between the lowest and the highest value of the first column.%s\n\n", min(s.rounds, b.rounds), limits(results))
}

func byCost(a, b sample) int { return cmp.Compare(a.cost, b.cost) }

// shown formats a value, and returns "" for one that was not measured.
func shown(verb string, value float64) string {
	if value == 0 {
		return ""
	}
	return fmt.Sprintf(verb, value)
}

// median returns the median of one figure over the rounds; 0 if there are none.
func median(samples []sample, value func(sample) float64) float64 {
	if len(samples) == 0 {
		return 0
	}
	var all []float64
	for _, s := range samples {
		all = append(all, value(s))
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// ratio returns the ratio of the medians of two peers; 0 if one is missing.
func ratio(results map[string][]sample, of, to string, value func(sample) float64) float64 {
	below := median(results[to], value)
	if below == 0 {
		return 0
	}
	return median(results[of], value) / below
}

// limits says how busy the load tool and the backend were. If one of them is near its limit, the run
// measured that tool instead of the proxy.
func limits(results map[string][]sample) string {
	var load, serve float64
	for name, samples := range results {
		if name != direct {
			load = max(load, median(samples, func(s sample) float64 { return s.load }))
			serve = max(serve, median(samples, func(s sample) float64 { return s.serve }))
		}
	}
	if load == 0 {
		return ""
	}
	return fmt.Sprintf(" With a proxy between, the client kept at most %.0f %% of a core busy (wrk has one thread: 100 would be its limit), the backend %.0f %%.", load*100, serve*100)
}

// promises are the ratios that pace promises to keep.
func (b *bench) promises(text *strings.Builder) {
	small, share := b.results["small"], 0.0
	if off := ratio(small, paceOff, paceOn, cost); off > 0 {
		share = 1 - off
	}
	fmt.Fprint(text, "## What pace promises\n\nMedians against those of the bare ReverseProxy, but for the share.\n\n| | target | here |\n|---|---:|---:|\n")
	for _, p := range []struct {
		what, target string
		here         float64
	}{
		{"CPU per small request, everything on, 1 % of traces", fmt.Sprintf("≤ %.2f", b.maxRatio), ratio(small, paceOn, bare, cost)},
		{"the same, every trace", "≤ 0.80", ratio(small, paceAll, bare, cost)},
		{"telemetry's share of pace's CPU, 1 % of traces", "≤ 0.20", share},
		{"requests/s of small requests, everything on, 1 % of traces", "≥ 1.40", ratio(small, paceOn, bare, rate)},
		{"CPU per GiB in bodies of 1 GiB", "≤ 0.60", ratio(b.results["1gib"], paceOn, bare, cost)},
		{"the same, sent by the client", "≤ 0.60", ratio(b.results["1gib-up"], paceOn, bare, cost)},
		{"RSS with 10,000 idle connections", "≤ 1.10", ratio(b.results["idle"], paceOn, bare, cost)},
	} {
		fmt.Fprintf(text, "| %s | %s | %s |\n", p.what, p.target, cmp.Or(shown("%.2f", p.here), "not run"))
	}
	for _, s := range scenarios {
		if s.promise != "" {
			here := ratio(b.results[s.name], paceOn, bare, cost)
			fmt.Fprintf(text, "| %s | ≤ %.2f | %s |\n", s.promise, s.target, cmp.Or(shown("%.2f", here), "not run"))
		}
	}
}

func (b *bench) about(text *strings.Builder) {
	fmt.Fprint(text, "\n## Peers\n\n| peer | what it is | version |\n|---|---|---|\n")
	for _, c := range b.contenders {
		notes := append([]string{cmp.Or(c.release, "the bench's own")}, c.faults...)
		if c.skip != "" {
			notes = []string{"skipped: " + c.skip}
		}
		fmt.Fprintf(text, "| %s | %s | %s |\n", c.name, c.about, strings.NewReplacer("\n", " ", "|", "/").Replace(strings.Join(notes, "; ")))
	}
}

// own returns the versions of the libraries that the bench's own peers use.
func own() string {
	var text strings.Builder
	text.WriteString(runtime.Version())
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, module := range info.Deps {
			if name := path.Base(module.Path); name == "otelhttp" || name == "fasthttp" {
				text.WriteString(", " + name + " " + module.Version)
			}
		}
	}
	return text.String()
}

// machine describes the machine of this run. Only ratios can be compared with another one.
func machine() string {
	wrk, _ := exec.Command("wrk", "-v").CombinedOutput() // exits with 1 after saying its version
	version, _, _ := strings.Cut(string(wrk), " [")
	return fmt.Sprintf("%s, %d cores; %s, Linux %s; %s; %s.", fileLine("/proc/cpuinfo", "model name"), runtime.NumCPU(),
		strings.Trim(fileLine("/etc/os-release", "PRETTY_NAME="), `"`), fileLine("/proc/sys/kernel/osrelease", ""), own(), version)
}

func loadAverage() string {
	now, _, _ := strings.Cut(fileLine("/proc/loadavg", ""), " ")
	return now
}

// fileLine returns what follows prefix in the first line that begins with it.
func fileLine(file, prefix string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, prefix); ok {
			return strings.Trim(rest, " :\t\n")
		}
	}
	return "unknown"
}
