package environment

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/prometheus/otlptranslator"
)

// reservedLabels are labels that Prometheus uses itself, besides those that begin with "__". Each resource
// attribute becomes a label of target_info: one with such a name makes a scrape fail, or is renamed by it.
var reservedLabels = []string{"le", "quantile", "job", "instance"}

// resourceAttributes checks OTEL_RESOURCE_ATTRIBUTES. Every export and every scrape
// contains the names and values, so one that cannot be encoded makes all of them fail.
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
			return fmt.Sprintf("%q cannot be the name of a Prometheus label", name),
				"write a name with a letter or digit from ASCII in it"
		case slices.Contains(reservedLabels, label), strings.HasPrefix(name, "__"), strings.HasPrefix(label, "__"):
			return fmt.Sprintf("the name %q is reserved by Prometheus", name),
				fmt.Sprintf("write another name, such as %q", "my."+strings.Trim(name, "._"))
		}
	}
	return "", ""
}

// plainText checks a variable whose value is not decoded.
func plainText(_, value string) (what, remedy string) {
	if !utf8.ValidString(value) {
		return "the value is not UTF-8", "write text in UTF-8"
	}
	return "", ""
}
