package message

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestBindsConnection(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fields []string
		want   bool
	}{
		{"no login binds nothing", nil, false},
		{"Basic is of one request", []string{"Basic QWxhZGRpbg=="}, false},
		{"so is Bearer", []string{"Bearer ntlm"}, false},
		{"NTLM binds", []string{"NTLM TlRMTVNTUAAB"}, true},
		{"in any case, behind blanks and before a tab", []string{" \tnTlM\tTlRMTVNTUAAB"}, true},
		{"Negotiate binds", []string{"Negotiate YII="}, true},
		{"also without a token", []string{"negotiate"}, true},
		{"also as the second field", []string{"Basic x", "Negotiate YII="}, true},
		{"Kerberos and CredSSP are of that kind", []string{"CredSSP x"}, true},
		{"another name that begins so is not", []string{"NegotiateX YII="}, false},
		{"an empty field is not", []string{""}, false},
	} {
		if got := BindsConnection(tt.fields); got != tt.want {
			t.Errorf("%s: %q binds %v, want %v", tt.name, tt.fields, got, tt.want)
		}
	}
}

// FuzzBindsConnection holds the reading of the scheme to a plain one: its letters end at the first byte that
// cannot be part of a token.
func FuzzBindsConnection(f *testing.F) {
	for _, s := range []string{"NTLM x", "negotiate", "Negotiate,Basic", "Basic NTLM", "\tNTLM", "NTLMx", ""} {
		f.Add(s)
	}
	scheme := regexp.MustCompile(`^[ \t]*(?i:ntlm|negotiate|nego2|kerberos|credssp)([ \t,]|$)`)
	f.Fuzz(func(t *testing.T, field string) {
		if utf8.ValidString(field) && !strings.ContainsAny(field, "\n\u017f\u212a") { // EqualFold and (?i) know letters beyond ASCII
			if got, want := BindsConnection([]string{field}), scheme.MatchString(field); got != want {
				t.Errorf("%q binds %v, want %v", field, got, want)
			}
		}
	})
}
