package dashboards

import (
	"bytes"
	"fmt"
	"strings"
	"text/template"
)

// rule is a recording rule, or an alert.
type rule struct {
	Record, Alert string // one of the two
	Expr          string
	For           string // how long an alert's condition must hold before it fires
	Labels        []pair
	Annotations   []pair
}

type pair struct{ Name, Value string }

// rules returns all rules. A rule comes after those whose series it reads, because Prometheus evaluates a
// group in its order.
func rules(routes []Route) []rule { return append(recordings(), alerts(routes)...) }

// rulesText writes values as YAML block scalars, in which nothing has to be escaped.
var rulesText = template.Must(template.New("").Funcs(template.FuncMap{"literal": literal}).Parse(
	`# Rules of pace for Prometheus, made by: pace dashboards
groups:
- name: pace
  rules:
{{- range .}}
  {{if .Record}}- record: {{.Record}}{{else}}- alert: {{.Alert}}{{end}}
    expr: {{literal .Expr}}
    {{- with .For}}
    for: {{.}}
    {{- end}}
    {{- with .Labels}}
    labels: {{- range .}}
      {{.Name}}: {{.Value}}{{end}}
    {{- end}}
    {{- with .Annotations}}
    annotations: {{- range .}}
      {{.Name}}: {{literal .Value}}{{end}}
    {{- end}}
{{- end}}
`))

func literal(s string) string { return "|-\n        " + strings.ReplaceAll(s, "\n", "\n        ") }

// rulesYAML returns the rules as Prometheus reads them.
func rulesYAML(list []rule) []byte {
	var b bytes.Buffer
	if err := rulesText.Execute(&b, list); err != nil {
		panic(fmt.Sprintf("pace: BUG: rules: %v", err))
	}
	return b.Bytes()
}
