package lb

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

//go:generate go test . -run ^TestSimulation$ -update

var update = flag.Bool("update", false, "write docs/balancing.md and its picture anew")

const (
	simulationPage    = "../docs/balancing.md"
	simulationPicture = "../docs/picture/balancing.svg"
)

// TestSimulation holds docs/balancing.md to what the policies do, and the policies to what matters.
func TestSimulation(t *testing.T) {
	results := map[string][]figures{} // by fault, in the order of Policies
	for _, f := range faults {
		for _, policy := range Policies {
			results[f.name] = append(results[f.name], simulate(t, policy, f))
		}
	}
	slow := map[string]figures{}
	for _, g := range results["slow"] {
		slow[g.policy] = g
	}
	for _, policy := range []*Policy{FewestRequests, PeakEWMA} {
		if got, limit := slow[policy.Name].p99, slow[RoundRobin.Name].p99/5; got > limit {
			t.Errorf("one of ten is 20 times slower: p99 of %s is %v, want at most %v", policy.Name, got, limit)
		}
	}
	if runtime.GOARCH != "amd64" {
		t.Skip("the page is from amd64; other processors round products of floats differently, and pick differently")
	}
	page, err := os.ReadFile(simulationPage)
	if err != nil {
		t.Fatal(err)
	}
	page = replaceBlock(t, page, "faults", faultList())
	page = replaceBlock(t, page, "simulation", figuresTable(results))
	for file, text := range map[string][]byte{simulationPage: page, simulationPicture: drawFigures(results)} {
		if *update {
			if err := os.WriteFile(file, text, 0o644); err != nil {
				t.Error(err)
			}
		} else if old, err := os.ReadFile(file); !bytes.Equal(old, text) {
			t.Errorf("%s is not what the simulation gives (%v); go generate ./lb writes it anew", file, err)
		}
	}
}

// replaceBlock returns a page with another text between <!-- NAME --> and <!-- /NAME -->.
func replaceBlock(t *testing.T, page []byte, name, text string) []byte {
	begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
	head, rest, ok1 := strings.Cut(string(page), begin)
	_, tail, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("%s has no block %s", simulationPage, name)
	}
	return []byte(head + begin + text + end + tail)
}

func faultList() string {
	var b strings.Builder
	for _, f := range faults {
		fmt.Fprintf(&b, "- **%s**: %s\n", f.name, f.doc)
	}
	return b.String()
}

func figuresTable(results map[string][]figures) string {
	var b strings.Builder
	b.WriteString("| fault | policy | p50 | p99 | failed | share |\n|---|---|---:|---:|---:|---:|\n")
	for _, f := range faults {
		for _, g := range results[f.name] {
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s |\n", g.fault, g.policy, millis(g.p50), millis(g.p99), percent(g.failed), percent(g.share))
		}
	}
	return b.String()
}

func millis(d time.Duration) string { return fmt.Sprintf("%.0f ms", d.Seconds()*1000) }

func percent(share float64) string {
	if share == 0 {
		return "0"
	}
	return fmt.Sprintf("%.2f %%", 100*share)
}

// The measures of the picture, in pixels.
const (
	barRow, barGap  = 17, 16
	barsFrom        = 190
	latencyWidth    = 270
	failedFrom      = barsFrom + latencyWidth + 90
	failedWidth     = 150
	simulationWidth = failedFrom + failedWidth + 80
	worstLatency    = 1.0  // seconds
	worstFailed     = 0.25 // of the requests
)

// drawFigures draws a row for each fault and policy, with a bar for the 99th percentile and one for what failed.
// Its background makes it readable on dark pages.
func drawFigures(results map[string][]figures) []byte {
	var b strings.Builder
	y := 46
	for _, f := range faults {
		fmt.Fprintf(&b, `<text x="12" y="%d" font-weight="bold">%s</text>`+"\n", y+12, f.name)
		for _, g := range results[f.name] {
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, barsFrom-8, y+12, g.policy)
			bar(&b, barsFrom, y, g.p99.Seconds()/worstLatency*latencyWidth, millis(g.p99))
			bar(&b, failedFrom, y, g.failed/worstFailed*failedWidth, percent(g.failed))
			b.WriteString("\n")
			y += barRow
		}
		y += barGap
	}
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="sans-serif" font-size="12" fill="#1f2937">
<title>What a backend in trouble costs, for each fault and policy</title>
<rect width="100%%" height="100%%" fill="#ffffff"/>
<text x="12" y="24" font-weight="bold">fault</text><text x="%d" y="24" font-weight="bold">99th percentile of the response time</text><text x="%d" y="24" font-weight="bold">failed requests</text>
%s</svg>
`, simulationWidth, y, simulationWidth, y, barsFrom, failedFrom, b.String())
}

func bar(b *strings.Builder, x, y int, length float64, text string) {
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="#0f766e"/><text x="%.1f" y="%d">%s</text>`, x, y+1, max(length, 1), barRow-3, float64(x)+max(length, 1)+5, y+12, text)
}
