package message

import "testing"

func TestPreferred(t *testing.T) {
	for _, tt := range []struct {
		accept string
		want   Form
	}{
		{"", PlainText}, {"*/*", PlainText}, {"text/plain", PlainText}, {"text/*", PlainText}, {"image/png", PlainText},
		{"application/json", JSON},
		{"Application/JSON", JSON},
		{"application/json, text/plain", PlainText}, // as good as the other
		{"application/json;q=0.9, text/plain", PlainText},
		{"application/json, text/plain;q=0.9", JSON},
		{"application/json;q=0", PlainText},
		{"application/json;q=0.1", JSON}, // plain text is not acceptable at all
		{"application/*", JSON},
		{"text/*, application/*;q=0.5", PlainText},
		{"*/*, text/plain;q=0.5", JSON}, // the more specific range holds
		{"*/*;q=0.1, text/plain;q=0.5", PlainText},
		{"application/json;q=0.5, */*;q=0.1", JSON},
		{"text/plain;q=0, */*", JSON},
		{"application/json; charset=utf-8 ; Q=0.3", JSON},
		{"application/json;q=2", PlainText}, // no weight, so none
		{"application/json;q=-1", PlainText},
		{"application/json;q=NaN", PlainText},
		{"application/json;q=x, text/plain;q=0.1", PlainText},
		{" , application/json ,", JSON},
		{"application/problem+json", PlainText},
		{"application/json;version=1;q=0.4,*/*;q=0.3", JSON},
		{"application/json;q=0.4;x=\"a,b\", text/*;q=1", PlainText},
		{"text/html", HTML},
		{"TEXT/HTML;charset=utf-8", HTML},
		{"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", HTML}, // a browser
		{"text/html;q=0.5, text/plain", PlainText},
		{"text/html, text/plain", PlainText},
		{"text/html, application/json", JSON},
		{"text/html, application/json;q=0.9", HTML},
		{"text/html;q=0", PlainText},
		{"text/html;q=0, */*", PlainText},
		{"text/*, text/plain;q=0.1", HTML},
	} {
		if got := Preferred([]string{tt.accept}); got != tt.want {
			t.Errorf("Accept: %s: got form %d, want %d", tt.accept, got, tt.want)
		}
	}
	if Preferred(nil) != PlainText || Preferred([]string{"text/plain;q=0.1", "application/json"}) != JSON {
		t.Error("no field, and two fields")
	}
}
