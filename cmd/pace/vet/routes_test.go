package vet

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pace/config"
)

// TestRouteFaults_NameTheirLines: a conflict names both lines, and every fault that only the matching of
// requests knows stands beside those that config finds.
func TestRouteFaults_NameTheirLines(t *testing.T) {
	const text = `[upstreams]
backends = ["http://10.0.0.1:8000"]
[[route]]
match = "/a/{x}"
upstream = "default"
[[route]]
match = "/{y}/b"
redirect = "https://new.example/{z}"
[[route]]
match = "api.example.com:80/"
upstream = "default"
request_headers.set = { "X-Forwarded-For" = "1", "X-Fine" = "1" }
response_headers = { remove = ["Server", "Connection", "proxy-status"], set = { "Server_Timing" = "x" }, add = { "X-Backend" = "1" } }
[[route]]
match = "no path"
upstream = "default"
[[route]]
match = "/a/{z}"
respond = 204
when = { Host = "x" }
`
	file := filepath.Join(t.TempDir(), "proxy.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := config.Load(file)
	if f == nil {
		t.Fatal(err)
	}
	got := config.Join(err, routeFaults(f, config.Faults(err))...).Error()
	want := `:7: route[1].match: "/{y}/b" and "/a/{x}" both match "/a/b", and neither is more specific (line 4); make one path more specific
:8: route[1].redirect: the pattern "/{y}/b" has no wildcard "z"; write one of {y}
:10: route[2].match: the port of a request is ignored, so a pattern has none, as in "api.example.com:80"; write "api.example.com"
:12: route[2].request_headers.set.X-Forwarded-For: the field X-Forwarded-For says how proxies forwarded the message; remove the rule
:13: route[2].response_headers.remove[1]: the field Connection belongs to one connection; remove the rule
:13: route[2].response_headers.remove[2]: the field proxy-status is written by pace itself; remove the rule
:13: route[2].response_headers.set.Server_Timing: the field Server_Timing is written by pace itself; remove the rule
:13: route[2].response_headers.add.X-Backend: the field X-Backend is written by pace itself; remove the rule
:15: route[3].match: "no path" has no path; write "no path/"
:20: route[4].when: the field Host is part of the pattern; write "HOST/PATH" in match`
	if got = strings.ReplaceAll(got, file, ""); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
