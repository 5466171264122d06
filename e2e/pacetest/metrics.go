package pacetest

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Metrics is one scrape: families by name.
type Metrics map[string]*dto.MetricFamily

// Exposition returns the admin listener's /metrics as text; accept is the scraper's Accept.
func (p *Pace) Exposition(accept string) string {
	p.t.Helper()
	body, err := fetch("http://"+p.Admin+"/metrics", accept)
	if err != nil {
		p.t.Fatal(err)
	}
	return body
}

// Metrics scrapes the admin listener.
func (p *Pace) Metrics() Metrics {
	p.t.Helper()
	m, err := ParseMetrics(p.Exposition("text/plain"))
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// ParseMetrics reads the text exposition format.
func ParseMetrics(text string) (Metrics, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	return parser.TextToMetricFamilies(bytes.NewReader([]byte(text)))
}

// Sum adds up the series of name whose labels match pairs ("reason", "connect_failed", …).
// Of a histogram, name_count and name_sum can be asked for.
func (m Metrics) Sum(name string, pairs ...string) float64 {
	read := value
	family, ok := m[name]
	if base, is := strings.CutSuffix(name, "_count"); !ok && is {
		family, read = m[base], func(s *dto.Metric) float64 { return float64(s.GetHistogram().GetSampleCount()) }
	} else if base, is := strings.CutSuffix(name, "_sum"); !ok && is {
		family, read = m[base], func(s *dto.Metric) float64 { return s.GetHistogram().GetSampleSum() }
	}
	sum := 0.0
	for _, series := range family.GetMetric() {
		if matches(series, pairs) {
			sum += read(series)
		}
	}
	return sum
}

func value(s *dto.Metric) float64 {
	return s.GetCounter().GetValue() + s.GetGauge().GetValue() + s.GetUntyped().GetValue()
}

func matches(s *dto.Metric, pairs []string) bool {
	for pair := range slices.Chunk(pairs, 2) {
		if Label(s, pair[0]) != pair[1] {
			return false
		}
	}
	return true
}

// Label returns a label's value, "" if it is absent.
func Label(s *dto.Metric, name string) string {
	for _, l := range s.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// Series counts the series of the exposition: its lines that are not comments.
func (p *Pace) Series() int {
	p.t.Helper()
	n := 0
	for line := range strings.Lines(p.Exposition("text/plain")) {
		if !strings.HasPrefix(line, "#") {
			n++
		}
	}
	return n
}

// WantMetric waits until the series of name that match pairs sum up to want.
func (p *Pace) WantMetric(want float64, name string, pairs ...string) {
	p.t.Helper()
	Eventually(p.t, func() error {
		if got := p.Metrics().Sum(name, pairs...); got != want {
			return fmt.Errorf("%s%q = %v, want %v", name, pairs, got, want)
		}
		return nil
	})
}

func fetch(url, accept string) (string, error) {
	req, err := newGet(url, "Accept", accept)
	if err != nil {
		return "", err
	}
	resp, err := adminClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != 200 {
		err = fmt.Errorf("%s: %s: %s", url, resp.Status, body)
	}
	return string(body), err
}
