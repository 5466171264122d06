package proxy

import "testing"

func TestPreferred(t *testing.T) {
	for _, tt := range []struct {
		accept string
		want   form
	}{
		{"", plainText}, {"*/*", plainText}, {"text/plain", plainText}, {"text/*", plainText}, {"image/png", plainText},
		{"application/json", object},
		{"Application/JSON", object},
		{"application/json, text/plain", plainText}, // as good as the other
		{"application/json;q=0.9, text/plain", plainText},
		{"application/json, text/plain;q=0.9", object},
		{"application/json;q=0", plainText},
		{"application/json;q=0.1", object}, // plain text is not acceptable at all
		{"application/*", object},
		{"text/*, application/*;q=0.5", plainText},
		{"*/*, text/plain;q=0.5", object}, // the more specific range holds
		{"*/*;q=0.1, text/plain;q=0.5", plainText},
		{"application/json;q=0.5, */*;q=0.1", object},
		{"text/plain;q=0, */*", object},
		{"application/json; charset=utf-8 ; Q=0.3", object},
		{"application/json;q=2", plainText}, // no weight, so none
		{"application/json;q=-1", plainText},
		{"application/json;q=NaN", plainText},
		{"application/json;q=x, text/plain;q=0.1", plainText},
		{" , application/json ,", object},
		{"application/problem+json", plainText},
		{"application/json;version=1;q=0.4,*/*;q=0.3", object},
		{"application/json;q=0.4;x=\"a,b\", text/*;q=1", plainText},
		{"text/html", page},
		{"TEXT/HTML;charset=utf-8", page},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", page}, // a browser
		{"text/html;q=0.5, text/plain", plainText},
		{"text/html, text/plain", plainText},
		{"text/html, application/json", object},
		{"text/html, application/json;q=0.9", page},
		{"text/html;q=0", plainText},
		{"text/html;q=0, */*", plainText},
		{"text/*, text/plain;q=0.1", page},
	} {
		if got := preferred([]string{tt.accept}); got != tt.want {
			t.Errorf("Accept: %s: got form %d, want %d", tt.accept, got, tt.want)
		}
	}
	if preferred(nil) != plainText || preferred([]string{"text/plain;q=0.1", "application/json"}) != object {
		t.Error("no field, and two fields")
	}
}
