package parts

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Prom is a running Prometheus.
type Prom struct {
	URL string // of its API, without a slash at the end

	t       testing.TB
	targets int
	rules   string // folder of its rule files
}

// Sample is one series of an instant query's response. A scalar has no labels.
type Sample struct {
	Labels map[string]string
	Value  float64
}

// Exemplar is one exemplar with the labels of the series that has it.
type Exemplar struct {
	Series map[string]string
	Labels map[string]string
	Value  float64
	Time   time.Time
}

// Prometheus starts a Prometheus that scrapes the targets (host:port) every second, as job pace.
// Its first scrape takes place a few seconds after the start.
func Prometheus(t testing.TB, targets ...string) *Prom {
	t.Helper()
	return startPrometheus(t, "exemplar-storage", targets)
}

// NativePrometheus is [Prometheus] with native histograms: it asks for protobuf.
func NativePrometheus(t testing.TB, targets ...string) *Prom {
	t.Helper()
	return startPrometheus(t, "exemplar-storage,native-histograms", targets)
}

func startPrometheus(t testing.TB, features string, targets []string) *Prom {
	t.Helper()
	path := Path(t, "prometheus")
	dir, address := t.TempDir(), free(t)
	p := &Prom{URL: "http://" + address, t: t, targets: len(targets), rules: filepath.Join(dir, "rules")}
	if err := os.Mkdir(p.rules, 0o700); err != nil {
		t.Fatal(err)
	}
	list, _ := json.Marshal(targets) // JSON is YAML
	write(t, filepath.Join(dir, "prometheus.yml"), fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%q]
scrape_configs:
- job_name: pace
  static_configs: [{targets: %s}]
`, filepath.Join(p.rules, "*.yml"), list))
	run(t, path,
		"--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address,
		"--web.enable-lifecycle",
		"--enable-feature="+features,
		"--log.level=warn",
	).ready(t, p.URL+"/-/ready")
	return p
}

// LoadRules gives Prometheus these rule files, in place of those of an earlier call.
func (p *Prom) LoadRules(files ...string) {
	p.t.Helper()
	old, _ := filepath.Glob(filepath.Join(p.rules, "*.yml"))
	for _, file := range old {
		os.Remove(file)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			p.t.Fatal(err)
		}
		write(p.t, filepath.Join(p.rules, filepath.Base(file)), string(raw))
	}
	resp, err := http.Post(p.URL+"/-/reload", "", nil)
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		p.t.Fatalf("Prometheus refuses the rules: %s", resp.Status)
	}
}

// Scraped waits until every target was scraped, with success, at a moment after the call. On a busy machine
// some scrape always comes too late, so the targets need not be up all at once.
func (p *Prom) Scraped() {
	p.t.Helper()
	called := float64(time.Now().UnixMilli()) / 1000
	scraped := map[string]bool{}
	poll(p.t, func() error {
		// For anything except a bare selector, timestamp() returns the time of the query.
		scrapes, err := p.query(`timestamp(up{job="pace"}) and up{job="pace"} == 1`)
		if err != nil {
			return err
		}
		for _, s := range scrapes {
			if s.Value > called {
				scraped[s.Labels["instance"]] = true
			}
		}
		if len(scraped) < p.targets {
			return fmt.Errorf("since the call, %d of %d targets were scraped: %s", len(scraped), p.targets, p.lastErrors())
		}
		return nil
	})
}

// Query evaluates a PromQL expression now.
func (p *Prom) Query(expr string) []Sample {
	p.t.Helper()
	samples, err := p.query(expr)
	if err != nil {
		p.t.Fatal(err)
	}
	return samples
}

// Sum returns the sum of a PromQL expression's series, 0 if there are none.
func (p *Prom) Sum(expr string) float64 {
	p.t.Helper()
	sum := 0.0
	for _, s := range p.Query(expr) {
		sum += s.Value
	}
	return sum
}

// By evaluates an expression and adds up its series by the values of the labels, joined by a space.
func (p *Prom) By(expr string, labels ...string) map[string]float64 {
	p.t.Helper()
	sums := map[string]float64{}
	for _, s := range p.Query(expr) {
		key := make([]string, len(labels))
		for i, label := range labels {
			key[i] = s.Labels[label]
		}
		sums[strings.Join(key, " ")] += s.Value
	}
	return sums
}

// Wait polls an expression until enough says yes to its response, which it returns.
func (p *Prom) Wait(expr string, enough func([]Sample) bool) []Sample {
	p.t.Helper()
	var samples []Sample
	poll(p.t, func() (err error) {
		if samples, err = p.query(expr); err == nil && !enough(samples) {
			err = fmt.Errorf("%s is still %v", expr, samples)
		}
		return err
	})
	return samples
}

// Exemplars returns the exemplars of the series that a selector chooses, within those times.
func (p *Prom) Exemplars(selector string, from, to time.Time) []Exemplar {
	p.t.Helper()
	var data []struct {
		SeriesLabels map[string]string
		Exemplars    []struct {
			Labels    map[string]string
			Value     string
			Timestamp float64
		}
	}
	query := url.Values{"query": {selector}, "start": {from.UTC().Format(time.RFC3339Nano)}, "end": {to.UTC().Format(time.RFC3339Nano)}}
	if err := p.api("query_exemplars", query, &data); err != nil {
		p.t.Fatal(err)
	}
	var all []Exemplar
	for _, series := range data {
		for _, e := range series.Exemplars {
			value, err := strconv.ParseFloat(e.Value, 64)
			if err != nil {
				p.t.Fatalf("exemplar of %v: %v", series.SeriesLabels, err)
			}
			all = append(all, Exemplar{series.SeriesLabels, e.Labels, value, time.UnixMicro(int64(e.Timestamp * 1e6))})
		}
	}
	return all
}

func (p *Prom) query(expr string) ([]Sample, error) {
	var data struct {
		ResultType string
		Result     json.RawMessage
	}
	if err := p.api("query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	var series []struct {
		Metric map[string]string
		Value  point
	}
	switch data.ResultType {
	case "vector":
		if err := json.Unmarshal(data.Result, &series); err != nil {
			return nil, fmt.Errorf("query %s: %w", expr, err)
		}
	case "scalar":
		var value point
		if err := json.Unmarshal(data.Result, &value); err != nil {
			return nil, fmt.Errorf("query %s: %w", expr, err)
		}
		return []Sample{{Value: float64(value)}}, nil
	default:
		return nil, fmt.Errorf("query %s: its answer is a %s", expr, data.ResultType)
	}
	samples := make([]Sample, len(series))
	for i, s := range series {
		samples[i] = Sample{s.Metric, float64(s.Value)}
	}
	return samples, nil
}

// point is the value of Prometheus' [time, "value"].
type point float64

func (v *point) UnmarshalJSON(raw []byte) error {
	var pair [2]any
	if err := json.Unmarshal(raw, &pair); err != nil {
		return err
	}
	f, err := strconv.ParseFloat(fmt.Sprint(pair[1]), 64)
	*v = point(f)
	return err
}

// lastErrors says why the targets' last scrapes failed.
func (p *Prom) lastErrors() []string {
	var data struct {
		ActiveTargets []struct{ ScrapeURL, LastError string }
	}
	if err := p.api("targets", nil, &data); err != nil {
		return []string{err.Error()}
	}
	var all []string
	for _, target := range data.ActiveTargets {
		if target.LastError != "" {
			all = append(all, target.ScrapeURL+": "+target.LastError)
		}
	}
	return all
}

func (p *Prom) api(name string, query url.Values, data any) error {
	body, err := get(p.t.Context(), p.URL+"/api/v1/"+name+"?"+query.Encode())
	if err != nil {
		return fmt.Errorf("Prometheus' %s %s: %w", name, query.Get("query"), err)
	}
	return json.Unmarshal(body, &struct{ Data any }{data})
}
