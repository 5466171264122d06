package proxy

import "testing"

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
		if got := bindsConnection(tt.fields); got != tt.want {
			t.Errorf("%s: %q binds %v, want %v", tt.name, tt.fields, got, tt.want)
		}
	}
}
