package message

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var someRules = RuleOptions{
	Remove: []string{"server", "X-Secret"},
	Set:    []RuleField{{"cache-control", "no-store"}, {"X-Tenant", "7"}},
	Add:    []RuleField{{"Set-Cookie", "a=1"}, {"X-Tenant", "8"}},
}

func TestRules_Apply(t *testing.T) {
	h := http.Header{
		"Server": {"x"}, "X_secret": {"1"}, "Cache-Control": {"max-age=3"}, "Set-Cookie": {"b=2"}, "Etag": {`"1"`},
	}
	NewRules(someRules).Apply(h)
	want := http.Header{
		"Cache-Control": {"no-store"}, "X-Tenant": {"7", "8"}, "Set-Cookie": {"b=2", "a=1"}, "Etag": {`"1"`},
	}
	if !reflect.DeepEqual(h, want) {
		t.Errorf("got %v, want %v", h, want)
	}
}

// net/http guesses a Content-Type where a header has none; a nil list keeps it from that.
func TestRules_ApplyKeepsNetHTTPFromAddingWhatIsRemoved(t *testing.T) {
	h := http.Header{"Content-Type": {"text/plain"}}
	NewRules(RuleOptions{Remove: []string{"content-type"}}).Apply(h)
	if values, present := h["Content-Type"]; !present || values != nil {
		t.Errorf("got %v", h)
	}
	if _, present := h["Date"]; present {
		t.Errorf("got %v", h)
	}
}

func TestRules_AppendFields(t *testing.T) {
	r := NewRules(someRules)
	want := "A: b\r\ncache-control: no-store\r\nX-Tenant: 7\r\nSet-Cookie: a=1\r\nX-Tenant: 8\r\n"
	if got := string(r.AppendFields([]byte("A: b\r\n"))); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for name, want := range map[string]bool{
		"Server": true, "X-Secret": true, "X_secret": true, "Cache-Control": true, "X-Tenant": true,
		"Set-Cookie": false, "Etag": false,
	} {
		if got := r.Removes(name); got != want {
			t.Errorf("%s: removed %v, want %v", name, got, want)
		}
	}
}

// Both ways to apply rules give the same fields.
func TestRules_BothWaysAgree(t *testing.T) {
	h := http.Header{"Server": {"x"}, "X-Tenant": {"1", "2"}, "Etag": {"3"}, "Set-Cookie": {"c=4"}}
	r := NewRules(someRules)
	lines := ""
	for name, values := range h {
		if r.Removes(name) {
			continue
		}
		for _, v := range values {
			lines += name + ": " + v + "\r\n"
		}
	}
	lines = string(r.AppendFields([]byte(lines)))
	r.Apply(h)
	var applied []string
	for name, values := range h {
		for _, v := range values {
			applied = append(applied, name+": "+v)
		}
	}
	var written []string
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		written = append(written, http.CanonicalHeaderKey(name)+": "+value)
	}
	slices.Sort(applied)
	slices.Sort(written)
	if !slices.Equal(applied, written) {
		t.Errorf("a header has %q, lines have %q", applied, written)
	}
}

func TestRules_NoneChangeAndAllocateNothing(t *testing.T) {
	r, h, lines := NewRules(RuleOptions{}), http.Header{"A": {"b"}}, make([]byte, 10)
	n := testing.AllocsPerRun(100, func() {
		r.Apply(h)
		if r.Removes("A") || len(r.AppendFields(lines)) != len(lines) || len(h) != 1 {
			t.Error("something changed")
		}
	})
	if r != nil || n != 0 {
		t.Errorf("got %v, %v allocations", r, n)
	}
}

func TestRuleOptions_Faults(t *testing.T) {
	o := RuleOptions{
		Remove: []string{"Server", "server", "Connection", "X-Forwarded-For", "x-proxy"},
		Set: []RuleField{
			{"Strict-Transport-Security", "max-age=1"}, {"Content-Length", "1"}, {"transfer_encoding", "chunked"}, {"TE", "trailers"},
			{"Host", "a"}, {"Server", "b"}, {"Via", "1.1 x"}, {"Forwarded", "for=x"}, {"X-Real-Ip", "1"}, {"Traceparent", "0"},
			{"Authorization", "Basic x"}, {"X-Request-Id", "1"},
		},
		Add: []RuleField{
			{"Authorization", "Negotiate x"}, {"Trailer", "X"}, {"Upgrade", "h2c"}, {"HTTP2-Settings", "x"}, {"Proxy", "x"},
			{"Set-Cookie", "a"}, {"Strict-Transport-Security", "max-age=2"},
		},
	}
	var got []string
	for _, f := range o.Faults("X-Proxy", "", "Traceparent", "Tracestate") {
		got = append(got, fmt.Sprintf("%s %s %s; %s", f.List, f.Name, f.What, f.Remedy))
	}
	want := []string{
		"remove server is in remove twice; remove one",
		"remove Connection belongs to one connection; remove the rule",
		"remove X-Forwarded-For says how proxies forwarded the message; remove the rule",
		"remove x-proxy is written by pace itself; remove the rule",
		"set Content-Length frames the message; remove the rule",
		"set transfer_encoding frames the message; remove the rule",
		"set TE belongs to one connection; remove the rule",
		`set Host is not a field for rules: the key "host" of the route says which one the backend gets; remove the rule`,
		"set Server is in remove as well; remove it there: set replaces what the field had",
		"set Via says how proxies forwarded the message; remove the rule",
		"set Forwarded says how proxies forwarded the message; remove the rule",
		"set X-Real-Ip says how proxies forwarded the message; remove the rule",
		"set Traceparent is written by pace itself; remove the rule",
		"set X-Request-Id is written by pace itself; remove the rule",
		"add Authorization would log in for a connection that clients share; remove the rule",
		"add Trailer frames the message; remove the rule",
		"add Upgrade belongs to one connection; remove the rule",
		"add HTTP2-Settings belongs to one connection; remove the rule",
		"add Proxy is never passed on, because CGI programs read it as HTTP_PROXY; remove the rule",
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("fault %d: got\n%q\nwant\n%q", i, got[min(i, len(got)):], want[min(i, len(want)):])
		}
	}
}
