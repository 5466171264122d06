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

	"pace/lb/health"
)

//go:generate go test . -run ^TestSimulation$ -update

var update = flag.Bool("update", false, "write docs/balancing.md and its picture anew")

const (
	simulationPage    = "../docs/balancing.md"
	simulationPicture = "../docs/picture/balancing.svg"
)

// result is what one policy does against one fault, with ejection and without.
type result struct{ with, without figures }

// TestSimulation holds docs/balancing.md to what the policies do, and the policies to what matters.
func TestSimulation(t *testing.T) {
	var results []result
	for _, f := range faults {
		for _, policy := range Policies {
			results = append(results, result{simulate(t, policy, f, byDefault), simulate(t, policy, f, health.Ejection{})})
		}
	}
	wantHidden(t, results)
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

// wantHidden wants the policies that look at backends to hide a slow one, and ejection to hide one that fails.
func wantHidden(t *testing.T, results []result) {
	t.Helper()
	slow := map[string]result{}
	for _, r := range results {
		if r.with.fault == "slow" {
			slow[r.with.policy] = r
		}
		if r.with.failed > 0.02 || r.with.failed > r.without.failed {
			t.Errorf("%s, %s: %v of the requests fail with ejection, %v without", r.with.fault, r.with.policy, r.with.failed, r.without.failed)
		}
	}
	for _, policy := range []*Policy{FewestRequests, PeakEWMA} {
		if got, limit := slow[policy.Name].with.p99, slow[RoundRobin.Name].with.p99/5; got > limit {
			t.Errorf("one of ten is 20 times slower: p99 of %s is %v, want at most %v", policy.Name, got, limit)
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

func figuresTable(results []result) string {
	var b strings.Builder
	b.WriteString("| fault | policy | p50 | p99 | failed | share | p99 without ejection | failed without |\n|---|---|---:|---:|---:|---:|---:|---:|\n")
	for _, r := range results {
		g := r.with
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s | %s | %s |\n", g.fault, g.policy,
			millis(g.p50), millis(g.p99), percent(g.failed), percent(g.share), millis(r.without.p99), percent(r.without.failed))
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

// drawFigures draws a row for each fault and policy, with bars for the 99th percentile and for what failed: a dark
// one with ejection, and a light one behind it without. The background makes it readable on dark pages.
func drawFigures(results []result) []byte {
	var b strings.Builder
	y, fault := 50, ""
	for _, r := range results {
		if r.with.fault != fault {
			if fault != "" {
				y += barGap
			}
			fault = r.with.fault
			fmt.Fprintf(&b, `<text x="12" y="%d" font-weight="bold">%s</text>`+"\n", y+12, fault)
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, barsFrom-8, y+12, r.with.policy)
		bars(&b, barsFrom, y, latencyWidth/worstLatency, r.with.p99.Seconds(), r.without.p99.Seconds(), millis(r.with.p99))
		bars(&b, failedFrom, y, failedWidth/worstFailed, r.with.failed, r.without.failed, percent(r.with.failed))
		b.WriteString("\n")
		y += barRow
	}
	y += 12
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" font-family="sans-serif" font-size="12" fill="#1f2937">
<title>What a backend in trouble costs, for each fault and policy</title>
<rect width="100%%" height="100%%" fill="#ffffff"/>
<text x="12" y="20" font-weight="bold">fault</text><text x="%d" y="20" font-weight="bold">99th percentile of the response time</text><text x="%d" y="20" font-weight="bold">failed requests</text>
<text x="%d" y="38" font-size="11">dark, with its figure: with ejection, as by default; light: without</text>
%s</svg>
`, simulationWidth, y, simulationWidth, y, barsFrom, failedFrom, barsFrom, b.String())
}

func bars(b *strings.Builder, x, y int, scale, with, without float64, text string) {
	length, behind := max(with*scale, 1), without*scale
	fmt.Fprintf(b, `<rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="#b9c0cc"/><rect x="%d" y="%d" width="%.1f" height="%d" rx="2" fill="#0f766e"/><text x="%.1f" y="%d">%s</text>`,
		x, y+1, behind, barRow-3, x, y+1, length, barRow-3, float64(x)+max(length, behind)+5, y+12, text)
}
