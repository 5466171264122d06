package toml

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

func TestIndexLines(t *testing.T) {
	const doc = `# a comment = 1
top = 1

[server] # [not.a.table]
listen = "a # b"
trusted_proxies = [
  "10.0.0.0/8", # "no"
  '''
]''', [ "nested",
  "second" ]
]
"quoted.key" = """
listen = "not here"
\""""""
'single' . bare = { inner = 'x', list = [
  { deep = 1 } ] }

[[route]]
name = "a"
[route.match]
path = "/"
[[route]]
name = "b"
route . "\u0061" = 1979-05-27 07:32:00
  [upstreams]
backends = ["http://a","http://b",
   "http://c"]`
	want := map[string]int{
		"top": 2, "server": 4, "server.listen": 5, "server.trusted_proxies": 6,
		"server.trusted_proxies[0]": 7, "server.trusted_proxies[1]": 8,
		"server.trusted_proxies[2]": 9, "server.trusted_proxies[2][0]": 9, "server.trusted_proxies[2][1]": 10,
		`server."quoted.key"`: 12, "server.single": 15, "server.single.bare": 15, "server.single.bare.inner": 15,
		"server.single.bare.list": 15, "server.single.bare.list[0]": 16, "server.single.bare.list[0].deep": 16,
		"route": 18, "route[0]": 18, "route[0].name": 19, "route[0].match": 20, "route[0].match.path": 21,
		"route[1]": 22, "route[1].name": 23, "route[1].route": 24, "route[1].route.a": 24,
		"upstreams": 25, "upstreams.backends": 26, "upstreams.backends[0]": 26, "upstreams.backends[1]": 26,
		"upstreams.backends[2]": 27,
	}
	got := indexText(doc).lines
	for path, line := range want {
		if got[path] != line {
			t.Errorf("%s: got line %d, want %d", path, got[path], line)
		}
	}
	for path, line := range got {
		if want[path] == 0 {
			t.Errorf("%s, line %d, is not in the document", path, line)
		}
	}
}

// FuzzIndex holds the index to the TOML library: of every document that the library reads it
// must find the same keys in the same order, and its statements must add up to the same tree.
func FuzzIndex(f *testing.F) {
	for _, doc := range []string{
		"a=1\n[b.c]\nd=[{e=1},{f={g=2}}]\n[[h]]\n[[h]]\ni.j=true\n[h.k]\n",
		"a = '''\n[x]'''\n\"b.c\" = \"\"\"\\\n \"\"\"\"\"\n'' = 1\n\"\\u0061b\\n\" . c = nan # d = 1\r\n",
		"a=[[1,2],[[{b=1}]],\n#]\n]\nb={\nc=1,#\n}\nd=1979-05-27 07:32:00Z",
		"[ a . 'b' ]\nc=-inf\n[[ d.\"e]\" ]]\n[d.f]\n[d.\"e]\".g]",
		"\ufeffa.b=1\na.c=2\n[a.d]\nb='\\'",
		"[[a.b]]\n[a]\nb.c = 1\n",
		"a = \"\\\\\"\nb=\"\\\"#\" # \"\nc = \"\"\nd=''\ne=\"\"\"\"\"\"\nf=''''''\ng=\"\"\"\"a\"\"\"\"\"",
	} {
		f.Add(doc)
	}
	f.Fuzz(checkIndex)
}

func checkIndex(t *testing.T, doc string) {
	text := strings.TrimLeft(doc, "\ufeff")
	var tree map[string]any
	x := indexText(text)
	if x.deep > 0 || len(text) > 1<<14 {
		return
	}
	md, err := toml.Decode(text, &tree)
	if err != nil {
		return
	}
	var want, got []string
	for _, key := range md.Keys() {
		path := ""
		for _, name := range key {
			path = Join(path, Name(name))
		}
		want = append(want, path)
	}
	for _, path := range x.keys {
		got = append(got, withoutElements(path))
		if x.lines[path] < 1 || x.lines[path] > 1+strings.Count(text, "\n") {
			t.Errorf("%s is in line %d of %q", path, x.lines[path], text)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("keys %q, the library has %q: %q", got, want, text)
	}
	d := &Document{index: x}
	if again := d.pieces(); len(d.Faults) > 0 || fmt.Sprintf("%#v", again) != fmt.Sprintf("%#v", tree) {
		t.Errorf("%v, faults %v, the library has %v: %q", again, d.Faults, tree, text)
	}
}

// withoutElements drops [0] and the like from a path, but not from quoted names in it.
func withoutElements(path string) string {
	var b strings.Builder
	quoted, inside := false, false
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case quoted && c == '\\':
			b.WriteString(path[i : i+2])
			i++
			continue
		case c == '"':
			quoted = !quoted
		case !quoted && c == '[':
			inside = true
		}
		if !inside {
			b.WriteByte(path[i])
		}
		if !quoted && path[i] == ']' {
			inside = false
		}
	}
	return b.String()
}
