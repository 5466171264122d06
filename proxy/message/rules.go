package message

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// RuleOptions say how a header is changed: first Remove, then Set, then Add. Names and values are those of
// valid fields.
type RuleOptions struct {
	Remove []string
	Set    []RuleField // replaces what the header has
	Add    []RuleField // stands beside what the header has
}

// RuleField is a field that a rule writes.
type RuleField struct{ Name, Value string }

// Rules change a header. They are made once and only read. A nil *Rules changes nothing.
type Rules struct {
	removes map[string]bool // by AsRead
	writes  []RuleField     // with canonical names
	lines   string          // writes, rendered
}

// NewRules returns the Rules of the options; nil if there are none.
func NewRules(o RuleOptions) *Rules {
	if len(o.Remove)+len(o.Set)+len(o.Add) == 0 {
		return nil
	}
	r := &Rules{removes: map[string]bool{}}
	for _, name := range o.Remove {
		r.removes[ruleName(name)] = true
	}
	var lines strings.Builder
	for i, f := range slices.Concat(o.Set, o.Add) {
		if i < len(o.Set) {
			r.removes[ruleName(f.Name)] = true
		}
		r.writes = append(r.writes, RuleField{http.CanonicalHeaderKey(f.Name), f.Value})
		lines.WriteString(f.Name + ": " + f.Value + "\r\n")
	}
	r.lines = lines.String()
	return r
}

// Removes reports whether the rules remove a field of the message, or replace it, in the header or in the
// trailer. name is canonical. As [Filter] does, it takes another spelling that CGI and its kin would read as
// the same name for that name.
func (r *Rules) Removes(name string) bool { return r != nil && r.removes[AsRead(name)] }

// AppendFields appends the lines of the fields that the rules write.
func (r *Rules) AppendFields(lines []byte) []byte {
	if r == nil {
		return lines
	}
	return append(lines, r.lines...)
}

// ofNetHTTP are fields that net/http adds to a response that does not have them.
var ofNetHTTP = []string{"Content-Type", "Date"}

// Apply changes a header.
func (r *Rules) Apply(h http.Header) {
	if r == nil {
		return
	}
	for name := range h {
		if r.Removes(name) {
			delete(h, name)
		}
	}
	for _, name := range ofNetHTTP {
		if r.Removes(name) {
			h[name] = nil // present, and without a line
		}
	}
	for _, f := range r.writes {
		h[f.Name] = append(h[f.Name], f.Value)
	}
}

// RuleFault is what is wrong with a rule.
type RuleFault struct {
	List   string // "set", "add" or "remove"
	Name   string // of the field, as it was written
	What   string
	Remedy string
}

// Faults returns what is wrong with rules: they touch a field that frames the message or belongs to one
// connection, one in which proxies say who sent a request, or one that pace writes itself. own are the fields
// that pace writes because of its configuration.
func (o RuleOptions) Faults(own ...string) (faults []RuleFault) {
	seen := map[string]string{} // the list that has the name, by ruleName
	check := func(list, name, value string) {
		read := ruleName(name)
		f := RuleFault{list, name, cmp.Or(touches(read, own), loginFault(read, value)), "remove the rule"}
		if other := seen[list+" "+read]; f.What == "" && other != "" {
			f.What, f.Remedy = "is in "+list+" twice", "remove one"
		}
		if list == "set" && f.What == "" && seen["remove "+read] != "" {
			f.What, f.Remedy = "is in remove as well", "remove it there: set replaces what the field had"
		}
		seen[list+" "+read] = list
		if f.What != "" {
			faults = append(faults, f)
		}
	}
	for _, name := range o.Remove {
		check("remove", name, "")
	}
	for _, f := range o.Set {
		check("set", f.Name, f.Value)
	}
	for _, f := range o.Add {
		check("add", f.Name, f.Value)
	}
	return faults
}

// touches says why no rule may touch a field; "" if one may.
func touches(read string, own []string) string {
	switch {
	case read == "Host":
		return `is not a field for rules: the key "host" of the route says which one the backend gets`
	case slices.Contains([]string{"Content-Length", "Transfer-Encoding", "Trailer", "Expect"}, read):
		return "frames the message"
	case hopByHop[read], read == "Http2-Settings":
		return "belongs to one connection"
	case read == RequestIDField:
		return "is written by pace itself"
	case read == "Proxy":
		return "is never passed on, because CGI programs read it as HTTP_PROXY"
	case slices.Contains(replaced, read), IsProxyField(read):
		return "says how proxies forwarded the message"
	}
	for _, name := range own {
		if name != "" && ruleName(name) == read {
			return "is written by pace itself"
		}
	}
	return ""
}

// loginFault refuses a login that holds for a connection: clients share the backend's connections.
func loginFault(read, value string) string {
	if read == "Authorization" && BindsConnection([]string{value}) {
		return "would log in for a connection that clients share"
	}
	return ""
}

// ruleName is the name that a field is compared by.
func ruleName(name string) string { return AsRead(http.CanonicalHeaderKey(name)) }
