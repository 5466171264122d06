package match

import (
	"strings"
	"testing"

	"pace/config"
)

// TestExplain_EveryAction: whatever a route does with a request, the match has its outcome if pace responds, and
// else what the backend gets, and the explanation says it.
func TestExplain_EveryAction(t *testing.T) {
	lines := map[string]struct{ written, outcome, backendPath, said string }{
		"upstream": {`upstream = "a"`, "", "/x?q=1", `Upstream: "a"`},
		"split":    {`split = { a = 9, b = 1 }`, "", "/x?q=1", `Upstream, with the weight 9: "a"`},
		"redirect": {`redirect = "/new"`, "redirected", "", "Response: 308, outcome redirected, to /new?q=1."},
		"respond":  {`respond = 410`, "responded", "", "Response: 410, outcome responded, from pace itself."},
	}
	for _, action := range config.Actions() {
		want, ok := lines[action]
		if !ok {
			t.Errorf("%s: no row says how it is explained", action)
			continue
		}
		f, err := config.Parse("x.toml", []byte("[upstream.a]\nbackends = [\"http://10.0.0.1\"]\n"+
			"[upstream.b]\nbackends = [\"http://10.0.0.2\"]\n[[route]]\nmatch = \"/\"\n"+want.written+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		request, target, err := Request("GET", "/x?q=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		m, path := Of(f.Routes, Table(f.Routes), request, target), ""
		if m.BackendPath != nil {
			path = *m.BackendPath
		}
		if m.Outcome != want.outcome || path != want.backendPath {
			t.Errorf("%s: outcome %q, and a backend gets %q; want %q and %q", want.written, m.Outcome, path, want.outcome, want.backendPath)
		}
		var said strings.Builder
		Explain(&said, f, request, target)
		if !strings.Contains(said.String(), want.said) {
			t.Errorf("%s: %q is not in\n%s", want.written, want.said, &said)
		}
	}
}
