package vet

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pace/config"
	"pace/proxy/upstream/check"
)

// TestLoad_EveryWordOfARemedyPasses: the remedy of an unknown word lists the words that are known, as
// TOML writes them, and each of them passes.
func TestLoad_EveryWordOfARemedyPasses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "proxy.toml")
	load := func(key, value string) error {
		table, leaf, _ := strings.Cut(key, ".")
		text := fmt.Sprintf("[upstreams]\nbackends = [\"http://10.0.0.1:8000\"]\n[%s]\n%s = %s\n", table, leaf, value)
		if table == "upstreams" {
			text = fmt.Sprintf("[upstreams]\nbackends = [\"http://10.0.0.1:8000\"]\n\n%s = %s\n", leaf, value)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(file)
		return err
	}
	f := &config.File{Config: config.Default()}
	f.RateLimit = &config.RateLimit{KeyExtractor: "client_ip"}
	for _, w := range words(f) {
		faults := config.Faults(load(w.key, `"nonsense"`))
		if len(faults) != 1 || faults[0].Key != w.key || faults[0].Line != 4 || faults[0].What != `unknown word "nonsense"` {
			t.Errorf("%s: got %v", w.key, faults)
			continue
		}
		bare := config.Faults(load(w.key, `nonsense`))
		if len(bare) != 1 || bare[0].Remedy != faults[0].Remedy {
			t.Errorf("%s = nonsense, without quotes: got %v, want the remedy %q", w.key, bare, faults[0].Remedy)
		}
		if got := config.Faults(load(w.key, w.got)); len(got) != 1 || got[0].Remedy != fmt.Sprintf("write %q", w.got) {
			t.Errorf("%s = %s, without quotes: got %v", w.key, w.got, got)
		}
		listed := strings.TrimPrefix(strings.TrimPrefix(faults[0].Remedy, "write "), "one of ")
		values := strings.Split(listed, ", ")
		if len(values) != len(w.known) {
			t.Errorf("%s: %q lists %d words, want %d", w.key, faults[0].Remedy, len(values), len(w.known))
		}
		for _, value := range values {
			if err := load(w.key, value); err != nil {
				t.Errorf("%s = %s, as the remedy says: %v", w.key, value, err)
			}
		}
	}
}

// TestLoad_EveryElementOfAListOfWords: each element is checked at its own position, whatever is wrong with others.
func TestLoad_EveryElementOfAListOfWords(t *testing.T) {
	file := filepath.Join(t.TempDir(), "proxy.toml")
	text := `[upstreams]
backends = ["http://10.0.0.1:8000"]
[upstreams.retry]
on = [500, "503", 503, "nonsense", "upstream_reset",
  true, "overload"]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(file)
	var got []string
	for _, f := range config.Faults(err) {
		got = append(got, fmt.Sprintf("%d %s: %s; %s", f.Line, f.Key, f.What, f.Remedy))
	}
	words := `write one of "connect_failed", "connect_timeout", "tls_failed", "dns_failed", "upstream_timeout", "upstream_reset", "upstream_invalid", "429", "502", "503", "504"`
	want := []string{
		`4 upstreams.retry.on[0]: expected a string, got the integer 500; ` + words,
		`4 upstreams.retry.on[2]: expected a string, got the integer 503; write "503"`,
		`4 upstreams.retry.on[3]: unknown word "nonsense"; ` + words,
		`5 upstreams.retry.on[5]: expected a string, got the boolean true; write a string, such as "connect_failed"`,
		`5 upstreams.retry.on[6]: unknown word "overload"; ` + words,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A word without its quotes gets them, and one that is no word at all an example that is known.
func TestLoad_RemediesOfWordsAreKnown(t *testing.T) {
	f := &config.File{Config: config.Default()}
	f.RateLimit = &config.RateLimit{KeyExtractor: "client_ip"}
	for _, w := range words(f) {
		if !slices.Contains(w.known, w.got) {
			t.Errorf("%s: its default %q is not among its words %q", w.key, w.got, w.known)
		}
	}
}

// The meaning of a key names each word that it may have.
func TestWords_AreInTheMeaningOfTheirKey(t *testing.T) {
	docs := map[string]string{}
	for k := range config.Keys() {
		docs[k.Name] = k.Doc
	}
	f := &config.File{Config: config.Default()}
	f.RateLimit = &config.RateLimit{KeyExtractor: "client_ip"}
	for _, w := range words(f) {
		for _, known := range w.known {
			if !strings.Contains(docs[w.key], known) {
				t.Errorf("%s: its meaning %q does not name %q", w.key, docs[w.key], known)
			}
		}
	}
	for _, l := range wordLists(f) {
		for _, known := range l.known {
			if !strings.Contains(docs[l.key], known) {
				t.Errorf("%s: its meaning %q does not name %q", l.key, docs[l.key], known)
			}
		}
		for _, word := range l.got {
			if !slices.Contains(l.known, word) {
				t.Errorf("%s: %q of its default is not among its words %q", l.key, word, l.known)
			}
		}
	}
}

// What the configuration takes for statuses, the checks can read, and it takes what they should read.
func TestStatuses_AreReadByTheChecks(t *testing.T) {
	for text, good := range map[string]bool{
		"200": true, "200-399": true, "200-299, 404,503": true, "599": true, "200-200": true, " 204 ": true,
		"": false, "199": false, "600": false, "399-200": false, "200,": false, "2xx": false, "0200": false, "+200": false, "200 - 299": false, "200-299-399": false,
	} {
		_, err := config.Parse("proxy.toml", fmt.Appendf(nil, "[upstreams]\nbackends = [\"http://10.0.0.1\"]\nhealth.status = %q\n", text))
		if (err == nil) != good {
			t.Errorf("%q: the configuration says %v", text, err)
		}
		if _, err := check.ParseStatuses(text); good && err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
