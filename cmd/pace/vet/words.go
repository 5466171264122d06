// Package vet checks a configuration against the parts that use it. Package config reads the file, and checks
// what it can without these parts. Only a part knows which words a key of its own may have, and which routes and
// rules are valid. vet builds nothing, and must not know a serving process.
package vet

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"pace/config"
	"pace/lb"
	"pace/proxy"
	"pace/proxy/front/handshake"
	"pace/proxy/upstream/check"
	"pace/telemetry"
	"pace/telemetry/accesslog"
	"pace/telemetry/otlp"
)

// Load reads a configuration, and checks its words against the lists of the parts that know them. It
// reports all faults at once, in the order of the file.
func Load(file string) (*config.File, error) {
	f, err := config.Load(file)
	if f == nil {
		return nil, err
	}
	var unknown []*config.Fault
	faults := config.Faults(err)
	for _, w := range words(f) {
		i := slices.IndexFunc(faults, func(f *config.Fault) bool { return f.Key == w.key })
		switch {
		case i >= 0 && !w.knows(faults[i].Remedy):
			faults[i].Remedy = "write " + oneOf(w.known)
		case i < 0 && !slices.Contains(w.known, w.got):
			unknown = append(unknown, f.Fault(w.key, fmt.Sprintf("unknown word %q", w.got), "write "+oneOf(w.known)))
		}
	}
	return f, config.Join(err, slices.Concat(unknown, routeFaults(f, faults), certificateFaults(f, faults))...)
}

// oneOf lists words in TOML's quotes.
func oneOf(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return "one of " + strings.Join(quoted, ", ")
}

// word is a key whose value must be one of the words that a part knows.
type word struct {
	key, got string
	known    []string
}

// knows reports whether a remedy is right. config makes remedies without knowing the words, so it may
// propose one that does not exist.
func (w word) knows(remedy string) bool {
	text, _ := strings.CutPrefix(remedy, "write ")
	proposed, err := strconv.Unquote(text)
	return err != nil || slices.Contains(w.known, proposed)
}

var levels = []string{"debug", "info", "warn", "error"}

// words returns the keys of f that hold words.
func words(f *config.File) []word {
	list := []word{
		{"tracing.protocol", f.Tracing.Protocol, otlp.Protocols},
		{"tracing.trust", f.Tracing.Trust, proxy.Trusts},
		{"log.format", f.Log.Format, accesslog.Formats},
		{"log.level", f.Log.Level, levels},
	}
	list = append(list, upstreamWords("upstreams", f.Upstreams)...)
	for _, u := range f.NamedUpstreams {
		list = append(list, upstreamWords(u.Key, u.Upstreams)...)
	}
	for _, l := range f.NamedListeners {
		list = append(list, word{l.Key + ".min_version", l.MinVersion, slices.Sorted(maps.Keys(handshake.Versions))})
	}
	if f.RateLimit != nil {
		list = append(list, word{"rate_limit.key_extractor", f.RateLimit.KeyExtractor, proxy.KeyKinds()})
	}
	for _, l := range f.NamedLimits {
		list = append(list, word{l.Key + ".key_extractor", l.KeyExtractor, proxy.KeyKinds()})
	}
	for _, r := range f.Routes {
		list = append(list, word{r.Key + ".log", r.Log, telemetry.LineWords()})
	}
	return list
}

// upstreamWords returns those of the table of an upstream.
func upstreamWords(key string, u config.Upstreams) []word {
	kind := check.Types()[0] // of the checks that are not there
	if u.Health != nil {
		kind = u.Health.Type
	}
	return []word{{key + ".policy", u.Policy, lb.PolicyNames()}, {key + ".health.type", kind, check.Types()}}
}

// Words returns the words of every key that holds one, by the names of config.Keys.
func Words() map[string][]string {
	f := &config.File{}
	f.RateLimit = &config.RateLimit{}
	f.NamedLimits = []config.Limit{{Key: "limit.NAME"}}
	f.Routes = []config.Route{{Key: "route"}}
	f.NamedUpstreams = []config.Upstream{{Key: "upstream.NAME"}}
	f.NamedListeners = []config.Listener{{Key: "listener.NAME"}}
	known := map[string][]string{}
	for _, w := range words(f) {
		known[w.key] = w.known
	}
	return known
}
