package server

import (
	"maps"
	"slices"
	"testing"

	"pace/config"
)

func TestActions_AreThoseOfTheConfiguration(t *testing.T) {
	want := config.Actions()
	slices.Sort(want)
	if got := slices.Sorted(maps.Keys(actions)); !slices.Equal(got, want) {
		t.Errorf("actions are made for %v, the configuration has %v", got, want)
	}
}

// TestActions_AreShown: the API shows each action by its key, and what the key says.
func TestActions_AreShown(t *testing.T) {
	lines := map[string]struct{ written, shown string }{
		"upstream": {`upstream = "a"`, "upstream a"},
		"split":    {`split = { a = 9, b = 1 }`, "split a 9 b 1"},
		"redirect": {`redirect = "/new"`, "redirect 308 to /new"},
		"respond":  {`respond = 410`, "respond 410"},
	}
	for _, action := range config.Actions() {
		want, ok := lines[action]
		if !ok {
			t.Errorf("%s: no row says how the API shows it", action)
			continue
		}
		f, err := config.Parse("x.toml", []byte("[upstream.a]\nbackends = [\"http://10.0.0.1\"]\n"+
			"[upstream.b]\nbackends = [\"http://10.0.0.2\"]\n[[route]]\nmatch = \"/\"\n"+want.written+"\n"))
		if err != nil {
			t.Fatal(err)
		}
		if got := shownAction(f.Routes[0]); got != want.shown {
			t.Errorf("%s: the API shows %q, want %q", want.written, got, want.shown)
		}
	}
}
