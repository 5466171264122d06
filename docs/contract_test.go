package docs

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"pace/config"
)

// TestKeys_AreInTheContract: interface.md is written by hand, and names every key in the row of its table.
func TestKeys_AreInTheContract(t *testing.T) {
	page, err := os.ReadFile("interface.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `\\[+([a-z_.NAME]+)\\]+` \\|(.*)$").FindAllStringSubmatch(string(page), -1) {
		rows[row[1]] = row[2]
	}
	sameAs := map[string]string{ // the row of the first says that the second has them all
		"upstream.NAME": "upstreams", "limit.NAME": "rate_limit",
		"upstreams.ejection":    "upstream.NAME.ejection",
		"route.request_headers": "route", "route.response_headers": "route",
	}
	name := regexp.MustCompile(`^(.*)\.(.*)$`)
	for k := range config.Keys() {
		of := name.FindStringSubmatch(k.Name)
		table, leaf := of[1], of[2]
		if other, ok := sameAs[table]; ok {
			table = other
		} else if inner, ok := strings.CutPrefix(table, "upstreams."); ok {
			table = "upstream.NAME." + inner
		}
		if !regexp.MustCompile(`\b` + leaf + `\b`).MatchString(rows[table]) {
			t.Errorf("the row of [%s] in interface.md lacks the key %s", table, leaf)
		}
	}
}
