package config

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	burntsushi "github.com/BurntSushi/toml"

	"pace/config/toml"
)

// aPersonDecides are the remedies that nothing mechanical can apply, each with the reason.
var aPersonDecides = []struct {
	remedy *regexp.Regexp
	why    string
}{
	{regexp.MustCompile(`^write the address of another server$`), "only a person knows which server was meant"},
	{regexp.MustCompile(`^write \S+ where it belongs$`), "only a person knows where a list, a table or a long text was meant to end"},
	{regexp.MustCompile(`^write \[NAME\]$`), "only a person knows which table was meant"},
	{regexp.MustCompile(`^define each table once, `), "only a person knows whether the value or the table was meant"},
	{regexp.MustCompile(`^write each table under its own \[header\]$`), "a file nested 32 deep has to be written anew"},
	{regexp.MustCompile(`^pace reads TOML$`), "the whole file has to be written anew"},
	{regexp.MustCompile(`^define \[(upstream|limit)\.`), "only a person knows which backends an upstream has, and what a limit allows"},
	{regexp.MustCompile(`^write \[\[certificate\]\] with cert and key`), "only a person knows where the certificate is"},
	{regexp.MustCompile(`^write client_ca = `), "only a person knows who signs the clients' certificates"},
	{regexp.MustCompile(`^write a listener with tls = true`), "only a person knows at which address"},
	{regexp.MustCompile(`^write another name$`), "only a person knows what to call a route"},
	{regexp.MustCompile(`^set it in the environment of pace$`), "only a person knows the value"},
	{regexp.MustCompile(`^name a file that holds the value alone, `), "only a person knows where the value is"},
	{regexp.MustCompile(`^write \$\{(env|file):`), "only a person knows where the value is"},
	{regexp.MustCompile(` there$`), "the value does not stand in the file"},
	{regexp.MustCompile(`^write KEY = VALUE, with text in double quotes`), "nothing is known of the key, and the value is no TOML"},
}

// TestRemedies applies the remedy of every fault in every golden file, one after the other, and wants
// each to make one fault fewer and none at its place, and the file to pass in the end, unless all that
// is left has to be decided by a person.
func TestRemedies(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	applied, used := 0, map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".toml"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			applied += heal(t, text, used)
		})
	}
	if applied < 250 {
		t.Errorf("only %d remedies were applied, want 250 at least", applied)
	}
	for _, p := range aPersonDecides[:len(aPersonDecides)-1] {
		if !used[p.why] {
			t.Errorf("no golden file has a remedy like %s", p.remedy)
		}
	}
}

// heal applies remedies until none is left that can be applied, and says how many it applied.
func heal(t *testing.T, text []byte, used map[string]bool) (applied int) {
	t.Helper()
	parse := func(text []byte) ([]*Fault, error) {
		_, err := Parse("x.toml", text)
		return slices.DeleteFunc(Faults(err), func(f *Fault) bool { return forAPerson(f, used) }), err
	}
	faults, _ := parse(text)
	for range 100 {
		if len(faults) == 0 {
			return applied
		}
		f := faults[0]
		next, err := apply(text, f)
		if err != nil {
			t.Fatalf("%v: %v, in\n%s", f, err, text)
		}
		left, err := parse(next)
		if len(left) >= len(faults) && !(f.mayUncover(left) && !slices.ContainsFunc(left, f.same)) {
			t.Fatalf("%v: the remedy leaves\n%v\nin\n%s", f, err, next)
		}
		text, faults = next, left
		applied++
	}
	t.Fatal("the remedies have no end")
	return applied
}

// uncovers are the remedies after which a part of the file is read that could not be read before.
var uncovers = regexp.MustCompile(`^(save the file as UTF-8|move it to the next line|remove it, or write # in front of it)$`)

// mayUncover reports whether a fault hid the ones that are left: a part of the file could not be read, or a
// word lacked the quotes that make a name of it, or what a route does could not be said.
func (f *Fault) mayUncover(left []*Fault) bool {
	return uncovers.MatchString(f.Remedy) || f.Key == "route" || f.Key == "route[0]" || slices.ContainsFunc(left, func(o *Fault) bool {
		return strings.HasPrefix(o.Key, f.Key) && strings.Contains(o.What, " is named ") ||
			strings.HasPrefix(f.Key, o.Key) && o.What == "what happens to its requests is missing"
	})
}

func (f *Fault) same(o *Fault) bool { return f.Key == o.Key && f.What == o.What }

func forAPerson(f *Fault, used map[string]bool) bool {
	for _, p := range aPersonDecides {
		if p.remedy.MatchString(f.Remedy) {
			used[p.why] = true
			return true
		}
	}
	return false
}

const tomlValue = `("(?:[^"\\]|\\.)*"|\[[^\]]*\]|\{[^}]*\}|true|false|[-+]?[0-9][0-9_.]*)`

var (
	writeValue  = regexp.MustCompile(`^write ` + tomlValue + `(?:$|, the /\d+ network$| or less, or lower \w+$| and put the credentials into )`)
	writeSample = regexp.MustCompile(`^write .*such as ` + tomlValue + `(?:, or remove the key to use its default)?$`)
	writeRoute  = regexp.MustCompile(`^write \[\[route\]\] with match = "(.*)" and upstream = "(.*)"$`)
	writeOneOf  = regexp.MustCompile(`^write one of ` + tomlValue)
	renameTable = regexp.MustCompile(`^write a name of .*, such as \[([\w.]+)\]$`)
	writeRange  = regexp.MustCompile(`^write .* from ` + tomlValue + ` to ` + tomlValue + `(?:, or remove the key to use its default)?$`)
	writeUnder  = regexp.MustCompile(`^write (\w+) = (.*) under \[+([\w.-]+)\]+$`)
	writeName   = regexp.MustCompile(`^(write|rename it to) (?:one of )?("(?:[^"\\]|\\.)*").*, or define \[`)
	writeAction = regexp.MustCompile(`^write one of .*, such as (\w+) = (.*)$`)
	writeHeader = regexp.MustCompile(`^write \[+([\w.-]+)\]+, and its keys on the lines below$`)
	moveTo      = regexp.MustCompile(`^move its keys to \[(\w+)\] on line \d+$`)
	didYouMean  = regexp.MustCompile(`^did you mean ([\w.[\]]+|\[+[\w.]+\]+)\?$`)
)

// apply does what the remedy of f says. Where the file is TOML it works on the tree, else on the line.
func apply(text []byte, f *Fault) ([]byte, error) {
	var tree map[string]any
	_, err := burntsushi.Decode(string(bytes.TrimPrefix(text, []byte("\ufeff"))), &tree)
	if err != nil {
		return applyToLine(text, f)
	}
	if err := applyToTree(tree, f); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = burntsushi.NewEncoder(&b).Encode(tree)
	return b.Bytes(), err
}

func applyToTree(tree map[string]any, f *Fault) error {
	path := segments(f.Key)
	if m := writeUnder.FindStringSubmatch(f.Remedy); m != nil {
		v, err := toml.Value(m[2])
		set(tree, path, v)
		return err
	}
	if m := renameTable.FindStringSubmatch(f.Remedy); m != nil {
		set(tree, segments(m[1]), remove(tree, path))
		return nil
	}
	if m := writeName.FindStringSubmatch(f.Remedy); m != nil {
		name, err := strconv.Unquote(m[2])
		if m[1] == "write" {
			set(tree, path, name)
		} else {
			set(tree, append(path[:len(path)-1:len(path)-1], name), remove(tree, path))
		}
		return err
	}
	if m := writeAction.FindStringSubmatch(f.Remedy); m != nil {
		v, err := toml.Value(m[2])
		set(tree, append(path, m[1]), v)
		return err
	}
	if m := writeHeader.FindStringSubmatch(f.Remedy); m != nil {
		set(tree, segments(m[1]), map[string]any{})
		if strings.Contains(f.Remedy, "[[") {
			set(tree, segments(m[1]), []map[string]any{{}})
		}
		return nil
	}
	if m := writeRoute.FindStringSubmatch(f.Remedy); m != nil {
		tree["route"] = []map[string]any{{"match": m[1], "upstream": m[2]}}
		return nil
	}
	if v, ok := written(f.Remedy); ok {
		set(tree, path, v)
		return nil
	}
	if m := didYouMean.FindStringSubmatch(f.Remedy); m != nil {
		v := remove(tree, path)
		if array, ok := v.([]map[string]any); ok && !strings.HasPrefix(m[1], "[[") {
			v = array[0]
		}
		set(tree, segments(strings.TrimSuffix(strings.Trim(m[1], "[]"), ".NAME")), v)
		return nil
	}
	if m := moveTo.FindStringSubmatch(f.Remedy); m != nil {
		from := remove(tree, path)
		if array, ok := from.([]map[string]any); ok {
			from = array[0]
		}
		for name, v := range from.(map[string]any) {
			set(tree, []string{m[1], name}, v)
		}
		return nil
	}
	if strings.HasPrefix(f.Remedy, "remove it") || f.Remedy == "remove one of the two" {
		remove(tree, path)
		return nil
	}
	return errors.New("no way to apply the remedy")
}

// written is the value that a remedy says to write.
func written(remedy string) (any, bool) {
	text := ""
	for _, form := range []*regexp.Regexp{writeValue, writeRange, writeSample, writeOneOf} {
		if m := form.FindStringSubmatch(remedy); m != nil {
			text = m[1]
			break
		}
	}
	if strings.HasPrefix(remedy, "write true or false") {
		text = "true"
	}
	v, err := toml.Value(text)
	return v, text != "" && err == nil
}

var segment = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\[\d+\]|[\w-]+`)

func segments(path string) []string {
	all := segment.FindAllString(path, -1)
	for i, s := range all {
		if name, err := strconv.Unquote(s); err == nil {
			all[i] = name
		}
	}
	return all
}

// find returns what holds the last segment of a path.
func find(tree map[string]any, path []string) any {
	var at any = tree
	for _, s := range path[:len(path)-1] {
		switch v := at.(type) {
		case map[string]any:
			if _, is := v[s].(map[string]any); !is && v[s] == nil {
				v[s] = map[string]any{}
			}
			at = v[s]
		case []any:
			at = v[index(s)]
		case []map[string]any:
			at = v[index(s)]
		}
	}
	return at
}

func index(s string) int {
	i, _ := strconv.Atoi(strings.Trim(s, "[]"))
	return i
}

// set writes a value; an element of a list that is there already is removed, since what is only an
// example would stand in the list twice.
func set(tree map[string]any, path []string, value any) {
	last := path[len(path)-1]
	switch v := find(tree, path).(type) {
	case map[string]any:
		v[last] = value
	case []any:
		if slices.Contains(v, value) {
			remove(tree, path)
		} else {
			v[index(last)] = value
		}
	}
}

func remove(tree map[string]any, path []string) (old any) {
	last := path[len(path)-1]
	parent := path[:len(path)-1]
	switch v := find(tree, path).(type) {
	case map[string]any:
		old = v[last]
		delete(v, last)
		if len(v) == 0 && len(parent) > 0 { // TOML forgets a table when its only key goes
			remove(tree, parent)
		}
	case []any:
		set(tree, parent, slices.Delete(slices.Clone(v), index(last), index(last)+1))
	case []map[string]any:
		if len(v) == 1 {
			return remove(tree, parent)
		}
		set(tree, parent, slices.Delete(slices.Clone(v), index(last), index(last)+1))
	}
	return old
}

func applyToLine(text []byte, f *Fault) ([]byte, error) {
	if f.Remedy == "save the file as UTF-8" {
		return asUTF8(text), nil
	}
	lines := strings.SplitAfter(string(text), "\n")
	if f.Line == 0 {
		if m := writeUnder.FindStringSubmatch(f.Remedy); m != nil {
			return fmt.Appendf(nil, "%s.%s = %s\n%s", m[3], m[1], m[2], text), nil
		}
		return nil, errors.New("no line")
	}
	line := &lines[f.Line-1]
	if strings.HasPrefix(f.Remedy, "remove it") && strings.HasPrefix(*line, "[") && strings.HasPrefix(f.What, "unknown table") {
		end := f.Line
		for end < len(lines) && !strings.HasPrefix(lines[end], "[") {
			end++
		}
		return []byte(strings.Join(slices.Delete(lines, f.Line-1, end), "")), nil
	}
	if err := editLine(line, f); err != nil {
		return nil, err
	}
	if f.Remedy == "move its keys to the first" {
		lines = moveToFirst(lines, f)
	}
	return []byte(strings.Join(lines, "")), nil
}

func editLine(line *string, f *Fault) error {
	name := f.Key[strings.LastIndexByte(f.Key, '.')+1:]
	key := regexp.MustCompile(`(?:^|[\s{,.])"?` + regexp.QuoteMeta(name) + `"?\s*=`).FindStringIndex(*line)
	switch m := writeHeader.FindStringSubmatch(f.Remedy); {
	case m != nil:
		*line = "[" + m[1] + "]\n"
	case f.Remedy == "comments start with #":
		*line = "# " + *line
	case f.Remedy == "move it to the next line":
		*line = strings.Replace(*line, "] ", "]\n", 1)
	case f.Remedy == "move its keys to the first":
	case regexp.MustCompile(`^write ["'] at the end of the text$`).MatchString(f.Remedy):
		*line = strings.TrimSuffix(*line, "\n") + f.Remedy[6:7] + "\n"
	case strings.HasPrefix(f.Remedy, `write \\ for each backslash`):
		*line = strings.ReplaceAll(*line, `"`, "'")
	case strings.HasPrefix(f.Remedy, `remove it, or write \u`):
		*line = strings.Map(func(r rune) rune {
			if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
				return -1
			}
			return r
		}, *line)
	case strings.HasPrefix(f.Remedy, "remove it, or write # in front of it"):
		rest, _ := strconv.Unquote(regexp.MustCompile(`"(?:[^"\\]|\\.)*"`).FindString(f.What))
		if strings.Contains(rest, "…") {
			*line = (*line)[:strings.Index(*line, `" `)+1] + "\n"
		} else {
			*line = strings.Replace(*line, rest+"\n", "\n", 1)
		}
	case f.What == "the value is missing" && f.Remedy == "write one, or remove the key to use its default",
		strings.HasPrefix(f.Remedy, "remove it"), f.Remedy == "remove one of the two":
		*line = removed(*line, name)
	case key != nil && didYouMean.MatchString(f.Remedy) && strings.HasPrefix(didYouMean.FindStringSubmatch(f.Remedy)[1], f.Key[:len(f.Key)-len(name)]):
		meant := didYouMean.FindStringSubmatch(f.Remedy)[1]
		*line = strings.Replace(*line, name, meant[strings.LastIndexByte(meant, '.')+1:], 1)
	case didYouMean.MatchString(f.Remedy):
		*line = "" // what it was meant to be is set elsewhere, or missing, in which case that is said next
	case key != nil:
		v, ok := written(f.Remedy)
		if !ok {
			return errors.New("no way to apply the remedy to the line")
		}
		if list, is := v.([]any); is {
			var quoted []string
			for _, e := range list {
				quoted = append(quoted, strconv.Quote(e.(string)))
			}
			*line = (*line)[:key[1]] + " [" + strings.Join(quoted, ", ") + "]\n"
		} else if m, is := v.(map[string]any); is {
			for name, v := range m {
				*line = (*line)[:key[1]] + fmt.Sprintf(" { %s = %#v }\n", name, v)
			}
		} else if s, is := v.(string); is {
			*line = (*line)[:key[1]] + " " + strconv.Quote(s) + "\n"
		} else {
			*line = (*line)[:key[1]] + fmt.Sprintf(" %v\n", v)
		}
	default:
		return errors.New("no way to apply the remedy to the line")
	}
	return nil
}

// removed is the line without its last definition of a key, which may be one in an inline table.
func removed(line, name string) string {
	inline := regexp.MustCompile(`,?\s*` + regexp.QuoteMeta(name) + `\s*=\s*[^,}]*`)
	if at := inline.FindAllStringIndex(line, -1); strings.Contains(line, "{") && len(at) > 0 {
		last := at[len(at)-1]
		return line[:last[0]] + line[last[1]:]
	}
	return ""
}

// moveToFirst moves the keys of a table that has two headers to the first one.
func moveToFirst(lines []string, f *Fault) []string {
	first, _ := strconv.Atoi(f.What[strings.LastIndexByte(f.What, ' ')+1:])
	end := f.Line
	for end < len(lines) && !strings.HasPrefix(lines[end], "[") {
		end++
	}
	moved := slices.Clone(lines[f.Line:end])
	lines = slices.Delete(lines, f.Line-1, end)
	return slices.Insert(lines, first, moved...)
}

// asUTF8 is what an editor makes of a file in UTF-16 or Latin-1.
func asUTF8(text []byte) []byte {
	if bytes.HasPrefix(text, []byte{0xff, 0xfe}) {
		var units []uint16
		for i := 2; i+1 < len(text); i += 2 {
			units = append(units, uint16(text[i])|uint16(text[i+1])<<8)
		}
		return []byte(string(utf16.Decode(units)))
	}
	var b []rune
	for _, c := range text {
		if c != 0 {
			b = append(b, rune(c))
		}
	}
	return []byte(string(b))
}

// TestRemedies_OfEveryKey writes values that make no sense at every key, and wants the remedy of each
// to pass. The sets of golden files cannot be complete; this is the kind they stand for.
func TestRemedies_OfEveryKey(t *testing.T) {
	senseless := []string{
		`0`, `-1`, `1`, `8080`, `70000`, `1e300`, `-0.0`, `inf`, `nan`, `0.5`, `true`, `1979-05-27`, `{}`, `[[]]`, `[{a = 1}]`, `[1, 2]`,
		`""`, `"0"`, `"-1"`, `"8080"`, `":8080"`, `"x y"`, `"\u0000"`, `"é"`, `"/"`, `"//"`, `"a/../b"`, `"10"`, `"10 s"`, `"1d"`, `"Host"`,
		`"http://u:p@h/x?y#z"`, `"https://h"`, `"10.0.0.1"`, `"10.0.0.1/8"`, `"::1"`, `"::1:80"`, `"h:"`, `"h:0"`, `"h:99999"`,
		`["", "", "a=b"]`, `["http://u:p@h/x", "8000", "::1"]`, `["10.0.0.1/8", "10.0.0.1"]`, strconv.Quote(strings.Repeat("a", 2000)),
		`0.0.0.0:8080`, `30s`, `yes`, `True`, `.5`, `010`, `1,000`, `{ = }`, `{`, `[10.0.0.0/8]`, `"unclosed`, `'unclosed`, `"a" "b"`, `"75"s`, ``,
	}
	for k := range Keys() {
		for _, value := range senseless {
			heal(t, []byte(fileWith(k, value)), map[string]bool{})
		}
	}
}

// fileWith is a file that passes if the value of the key does.
func fileWith(k Key, value string) string {
	line := func(in string) string { return strings.TrimPrefix(k.Name, in+".") + " = " + value + "\n" }
	const backends = "backends = [\"http://10.0.0.1:8000\"]\n"
	const pool = "[upstreams]\n" + backends
	switch table, _, _ := strings.Cut(k.Name, "."); {
	case k.Name == "upstreams.backends":
		return "[upstreams]\n" + line(table)
	case table == "upstreams":
		return "[upstreams]\n" + line(table) + backends
	case k.Name == "upstream.NAME.backends":
		return "[upstream.api]\n" + line("upstream.NAME") + pool
	case table == "upstream":
		return "[upstream.api]\n" + line("upstream.NAME") + backends + pool
	case k.Name == "listener.NAME.listen":
		return "[listener.https]\n" + line("listener.NAME") + pool
	case table == "listener":
		return "[listener.https]\nlisten = \"127.0.0.1:8443\"\n" + tlsFor[k.Name] + line("listener.NAME") + tlsListener + pool
	case table == "certificate":
		required := "cert = \"/a.crt\"\nkey = \"/a.key\"\n"
		return "[[certificate]]\n" + strings.Replace(required, regexp.MustCompile(`(?m)^`+strings.TrimPrefix(k.Name, "certificate.")+` = .*\n`).FindString(required), "", 1) + line("certificate") + pool
	case table == "acme":
		required := map[string]string{"domains": "domains = [\"a.example\"]\n", "storage": "storage = \"/s\"\n", "accept_terms": "accept_terms = true\n"}
		delete(required, strings.TrimPrefix(k.Name, "acme."))
		return "[acme]\n" + strings.Join(slices.Sorted(maps.Values(required)), "") + line("acme") + pool
	case table == "limit":
		return "[limit.some]\n" + line("limit.NAME") + pool
	case k.Name == "route.match":
		return "[[route]]\n" + line("route") + "upstream = \"default\"\n" + pool
	case table == "route":
		action := map[string]string{"upstream": "", "split": "", "redirect": "", "respond": "", "split_by": "split = { default = 1 }\n",
			"status": "redirect = \"/\"\n", "body": "respond = 200\n"}
		leaf := strings.TrimPrefix(k.Name, "route.")
		with, ok := action[leaf]
		if !ok {
			with = "upstream = \"default\"\n"
		}
		if leaf == "mirror_share" {
			with += "mirror = \"default\"\n"
		}
		return "[[route]]\n" + line("route") + "match = \"/\"\n" + with + pool
	default:
		return "[" + table + "]\n" + line(table) + pool
	}
}

// tlsFor has the keys of TLS that mean nothing without it; a remedy of them passes only beside this line.
var tlsFor = map[string]string{"listener.NAME.min_version": "tls = true\n", "listener.NAME.strict_sni": "tls = true\n", "listener.NAME.http3": "tls = true\n",
	"listener.NAME.client_auth": "tls = true\nclient_ca = \"/ca.pem\"\n"}

// tlsListener is a listener to redirect to, and a certificate for it.
const tlsListener = "[listener.other]\nlisten = \"127.0.0.1:8444\"\ntls = true\n[[certificate]]\ncert = \"/a.crt\"\nkey = \"/a.key\"\n"

// TestRemedies_NameTheTable: the valid keys that a remedy lists are those of the fault's own table.
func TestRemedies_NameTheTable(t *testing.T) {
	for _, table := range root.tables {
		for _, k := range table.keys {
			if got := table.valid(table.path); !regexp.MustCompile(`[ ,]` + k.leaf + `(,|$)`).MatchString(got) {
				t.Errorf("%s is not in %q", k.Name, got)
			}
		}
	}
	file := "testdata/bad/unknown_key_every_table.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for table := range root.all() {
		if header := strings.Replace(table.header(), "NAME", cmp.Or(table.sample, "api"), 1); table != root && !bytes.Contains(text, []byte(header+": ")) {
			t.Errorf("%s lacks %s", file, header)
		}
	}
}

// TestBounds: both ends of every range that a remedy offers pass.
func TestBounds(t *testing.T) {
	for k := range root.every() {
		if low, top := k.bounds(); low != "" && (!k.accepts(low) || !k.accepts(top)) {
			t.Errorf("%s does not take %s or %s, its own bounds", k.Name, low, top)
		}
	}
}
