package main

import (
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// figures makes README.md anew: its figures are those of the last bench, every kind of traffic that was measured.
func figures(root fs.FS) (string, error) {
	results, err := fs.ReadFile(root, "bench/results/README.md")
	if err != nil {
		return "", err
	}
	readme, err := fs.ReadFile(root, "README.md")
	if err != nil {
		return "", err
	}
	block, err := benchBlock(string(results))
	if err != nil {
		return "", err
	}
	return replaceBlock(string(readme), "bench", block)
}

// traffic is one kind of traffic in the results.
type traffic struct {
	title string
	heads []string
	rows  map[string][]string // by peer
}

// inReadme are the peers in the README's table; the report has all.
var inReadme = []string{"reverseproxy", "reverseproxy-otel-1", "pace-1", "caddy", "nginx", "haproxy"}

// benchBlock makes the README's table from the page that the bench wrote: a row for each kind of traffic, with what each
// proxy costs, its ratio to the bare ReverseProxy, and the rate that pace reaches.
func benchBlock(results string) (string, error) {
	traffics, about, peers := readResults(results)
	if len(traffics) < 3 || len(peers) < 5 {
		return "", fmt.Errorf("%d tables and %d peers in the results: they are read wrongly", len(traffics), len(peers))
	}
	var b strings.Builder
	heads, rule := "| |", "|---|"
	for _, peer := range inReadme {
		heads += " " + emphasized(peer) + " |"
		rule += "---:|"
	}
	fmt.Fprintf(&b, "%s pace-1: rate |\n%s---:|\n", heads, rule)
	for _, s := range traffics {
		fmt.Fprintf(&b, "| %s, %s |", s.title, s.heads[1])
		for _, peer := range inReadme {
			fmt.Fprintf(&b, " %s |", s.cost(s.rows[peer]))
		}
		fmt.Fprintf(&b, " %s |\n", s.rateOf("pace-1"))
	}
	b.WriteString("\nIn brackets: the ratio to the bare `ReverseProxy`; of costs less is better, of rates more. An empty cell was not measured.\n\n")
	for _, peer := range inReadme {
		if about[peer] != "" {
			fmt.Fprintf(&b, "- %s\n", about[peer])
		}
	}
	b.WriteString("\n[The whole report](bench/results/README.md) has pace with nothing on and with every trace, percentiles, memory, the spread of each figure, and what was measured with which version.\n")
	return b.String(), nil
}

func emphasized(peer string) string {
	if own.MatchString(peer) {
		return "**" + peer + "**"
	}
	return peer
}

// rateOf is the rate of a peer, and its ratio to the bare ReverseProxy's.
func (s *traffic) rateOf(peer string) string {
	i := s.rate()
	if i == 0 {
		return ""
	}
	said := cell(s.rows[peer], i) + " " + s.heads[i]
	if ratio := cell(s.rows[peer], i+1); cell(s.heads, i+1) == "× bare" && ratio != "" {
		said += " (" + ratio + ")"
	}
	return said
}

// rate is the index of the column of the rate, 0 if there is none.
func (s *traffic) rate() int {
	for i, head := range s.heads {
		if strings.HasSuffix(head, "/s") {
			return i
		}
	}
	return 0
}

// cost is the first figure, and its ratio to the bare ReverseProxy.
func (s *traffic) cost(cells []string) string {
	cost := cell(cells, 1)
	if ratio := cell(cells, 2); cost != "" && ratio != "" && s.heads[2] == "× bare" {
		return fmt.Sprintf("%s (%s)", cost, ratio)
	}
	return cost
}

func cell(cells []string, i int) string {
	if i >= len(cells) {
		return ""
	}
	return cells[i]
}

var own = regexp.MustCompile(`^pace`)

// readResults reads the tables of the bench's page: the traffics, what each peer is, and the peers in
// their order.
func readResults(results string) (traffics []*traffic, about map[string]string, peers []string) {
	about = map[string]string{}
	title := ""
	var open *traffic
	for line := range strings.Lines(results) {
		line = strings.TrimSpace(line)
		if next, is := strings.CutPrefix(line, "## "); is {
			title, open = next, nil
		}
		if !strings.HasPrefix(line, "|") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case strings.HasPrefix(cells[0], "--"):
		case title == "Peers" && cells[0] != "peer":
			peers = append(peers, cells[0])
			about[cells[0]] = describe(cells)
		case title == "Peers":
		case cells[0] == "peer":
			open = &traffic{title: shortTitle(title), heads: cells, rows: map[string][]string{}}
			traffics = append(traffics, open)
		case open != nil:
			open.rows[cells[0]] = cells
		}
	}
	return traffics, about, peers
}

// shortTitle is "1 GiB PUT" of "1 GiB bodies: PUT, one at a time".
func shortTitle(title string) string {
	short, rest, _ := strings.Cut(title, ":")
	short = strings.TrimSuffix(short, " bodies")
	short, _, _ = strings.Cut(short, ",") // "10,000 idle connections, one request on each before"
	if strings.HasPrefix(title, "10,000") {
		short = "10,000 idle connections"
	}
	if method, _, _ := strings.Cut(strings.TrimSpace(rest), ","); method == "PUT" || method == "POST" {
		short += " " + method
	}
	return short
}

// describe is what a row of the table of peers says of one: name, what it is, version.
func describe(cells []string) string {
	name, what := cells[0], cells[1]
	version, _, _ := strings.Cut(cells[2], "; failed in ") // in a scenario that the peer cannot do
	switch {
	case own.MatchString(name):
		return "**" + name + "**: " + strings.TrimPrefix(what, "pace ")
	case version == "the bench's own":
		return name + ": " + what
	default:
		return name + " " + regexp.MustCompile(`\d+(\.\d+)+`).FindString(version) + ", " + what
	}
}
