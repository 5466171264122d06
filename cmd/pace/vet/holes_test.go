package vet

import (
	"slices"
	"testing"

	"pace/config"
)

func TestHoles(t *testing.T) {
	const more = "[upstreams]\nbackends = [\"http://10.0.0.1:8000\"]\n[[route]]\nmatch = \"/\"\nupstream = \"default\"\n"
	for _, tt := range []struct {
		name string
		text string
		want []string
	}{
		{"the path without its slash has another route",
			"[[route]]\nmatch = \"/admin/\"\nupstream = \"default\"\nallow = [\"10.0.0.0/8\"]\n",
			[]string{`x.toml:7: route[1].match: warning: "/admin/" does not match "/admin", which the route on line 3 takes, with another allow or deny; write a route for "/admin" with the same allow and deny`}},
		{"wildcards, a host and a method",
			"[[route]]\nmatch = \"GET h.example/{x}/{rest...}\"\nupstream = \"default\"\ndeny = [\"10.0.0.0/8\"]\nwhen = { X-A = \"1\" }\n",
			[]string{`x.toml:7: route[1].match: warning: "GET h.example/{x}/{rest...}" does not match "/{x}", which the route on line 3 takes, with another allow or deny; write a route for "/{x}" with the same allow and deny`}},
		{"the path without its slash has the same rules",
			"[[route]]\nmatch = \"/admin/\"\nupstream = \"default\"\nallow = [\"10.0.0.0/8\"]\n[[route]]\nmatch = \"/admin\"\nrespond = 404\nallow = [\"10.0.0.0/8\"]\n", nil},
		{"no rules", "[[route]]\nmatch = \"/admin/\"\nupstream = \"default\"\n", nil},
		{"a pattern for one path", "[[route]]\nmatch = \"/admin/{$}\"\nupstream = \"default\"\nallow = [\"10.0.0.0/8\"]\n", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := config.Parse("x.toml", []byte(more+tt.text))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range Holes(f) {
				got = append(got, w.Error())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q\nwant %q", got, tt.want)
			}
		})
	}
}
