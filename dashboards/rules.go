package dashboards

import (
	"bytes"
	"fmt"
	"strings"
	"text/template"
)

// rule is a recording rule, or an alert with the time for which it must hold.
type rule struct {
	Record, Alert string // one of the two
	Expr          string
	For           string
	Labels        []pair
	Annotations   []pair
}

type pair struct{ Name, Value string }

// rules returns all, each after those whose series it reads: a group is evaluated in its order.
func rules() []rule { return append(recordings(), alerts()...) }

// rulesText writes values as block scalars, in which nothing needs to be escaped.
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

// rulesYAML is the rules as Prometheus reads them.
func rulesYAML(list []rule) []byte {
	var b bytes.Buffer
	if err := rulesText.Execute(&b, list); err != nil {
		panic(fmt.Sprintf("pace: BUG: rules: %v", err))
	}
	return b.Bytes()
}
