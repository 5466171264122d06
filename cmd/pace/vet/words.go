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
	"pace/config/toml"
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
	hold := func(key, got string, known []string) {
		if i := faultAt(faults, key); i >= 0 {
			correct(faults[i], known)
		} else if !slices.Contains(known, got) {
			bad := f.Refuse(key, fmt.Sprintf("unknown word %q", got), "")
			bad.Remedy = "write " + oneOf(known)
			unknown = append(unknown, bad)
		}
	}
	for _, w := range words(f) {
		hold(w.key, w.got, w.known)
	}
	for _, l := range wordLists(f) {
		at := 0
		for _, got := range l.got {
			for ; faultAt(faults, toml.Element(l.key, at)) >= 0; at++ { // config has left this element out
				hold(toml.Element(l.key, at), "", l.known)
			}
			hold(toml.Element(l.key, at), got, l.known)
			at++
		}
		for ; faultAt(faults, toml.Element(l.key, at)) >= 0; at++ {
			hold(toml.Element(l.key, at), "", l.known)
		}
	}
	return f, config.Join(err, slices.Concat(unknown, routeFaults(f, faults), backendFaults(f, faults), certificateFaults(f, faults))...)
}

// faultAt returns the index of the fault of a key, or -1.
func faultAt(faults []*config.Fault, key string) int {
	return slices.IndexFunc(faults, func(f *config.Fault) bool { return f.Key == key })
}

// correct makes the remedy of a fault right. config makes remedies without knowing the words, so it may
// propose one that does not exist.
func correct(f *config.Fault, known []string) {
	text, _ := strings.CutPrefix(f.Remedy, "write ")
	if proposed, err := strconv.Unquote(text); err == nil && !slices.Contains(known, proposed) {
		f.Remedy = "write " + oneOf(known)
	}
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

// wordList is a key whose value is a list of such words.
type wordList struct {
	key   string
	got   []string
	known []string
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
		list = append(list, word{l.Key + ".min_version", l.MinVersion, slices.Sorted(maps.Keys(handshake.Versions))},
			word{l.Key + ".client_auth", l.ClientAuth, handshake.ClientAuths})
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

// wordLists returns the keys of f that hold lists of words.
func wordLists(f *config.File) []wordList {
	list := []wordList{{"upstreams.retry.on", f.Upstreams.Retry.On, proxy.RetryWords()}}
	for _, u := range f.NamedUpstreams {
		list = append(list, wordList{u.Key + ".retry.on", u.Retry.On, proxy.RetryWords()})
	}
	return list
}

// Words returns the words of every key that holds one, or a list of them, by the names of config.Keys.
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
	for _, l := range wordLists(f) {
		known[l.key] = l.known
	}
	return known
}
