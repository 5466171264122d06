package telemetry

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/otlptranslator"
)

// reservedLabels are Prometheus' own, beside those that begin with "__". An attribute of that name is a
// label of target_info, which nobody could scrape any more, or not keep apart from what the scrape says.
var reservedLabels = []string{"le", "quantile", "job", "instance"}

// resourceAttributes checks OTEL_RESOURCE_ATTRIBUTES. Names and values are in every export and every scrape: one
// that cannot be written there would end them all.
func resourceAttributes(variable, value string) (what, remedy string) {
	if what, remedy = pairs(variable, value); what != "" {
		return what, remedy
	}
	n := 0
	for item := range strings.SplitSeq(value, ",") {
		n++
		name, text, _ := strings.Cut(item, "=")
		name = strings.TrimSpace(name)
		text, _ = url.PathUnescape(strings.TrimSpace(text))
		if !utf8.ValidString(name) || !utf8.ValidString(text) {
			return fmt.Sprintf("item %d is not UTF-8", n), "write text in UTF-8, percent-encoded: é is %C3%A9"
		}
		namer := otlptranslator.LabelNamer{}
		switch label, err := namer.Build(name); {
		case err != nil:
			return fmt.Sprintf("%q cannot be the name of a Prometheus label", name), "write a name with a letter or digit from ASCII in it"
		case slices.Contains(reservedLabels, label), strings.HasPrefix(name, "__"), strings.HasPrefix(label, "__"):
			return fmt.Sprintf("the name %q is reserved by Prometheus", name), fmt.Sprintf("write another name, such as %q", "my."+strings.Trim(name, "._"))
		}
	}
	return "", ""
}

// plainText checks a variable that is taken as it stands.
func plainText(_, value string) (what, remedy string) {
	if !utf8.ValidString(value) {
		return "the value is not UTF-8", "write text in UTF-8"
	}
	return "", ""
}
