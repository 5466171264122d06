package environment

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.opentelemetry.io/contrib/propagators/autoprop"
)

// check returns what is wrong with the value of the variable, and how to fix it; nothing if it is right.
type check func(variable, value string) (what, remedy string)

// variables are those whose invalid values OpenTelemetry's libraries ignore: spans would go nowhere, or not where
// they should, and nobody would notice.
var variables = map[string]check{
	"OTEL_LOGS_EXPORTER":       someOf("otlp", "console", "none"),
	"OTEL_METRICS_EXPORTER":    someOf("otlp", "prometheus", "none"),
	"OTEL_PROPAGATORS":         propagators,
	"OTEL_RESOURCE_ATTRIBUTES": resourceAttributes,
	"OTEL_SDK_DISABLED":        truth,
	"OTEL_SERVICE_NAME":        plainText,
}

// exporterVariables matter only if a signal is exported. Each stands for two variables: the second one has the
// name of the signal in it, and is for that signal alone.
var exporterVariables = map[string]check{
	"CERTIFICATE":        authority,
	"CLIENT_CERTIFICATE": identification,
	"CLIENT_KEY":         keyOfIdentification,
	"COMPRESSION":        oneOf("gzip", "none"),
	"ENDPOINT":           collectorURL,
	"HEADERS":            pairs,
	"INSECURE":           truth,
	"TIMEOUT":            digits,
}

// signalVariables matter only if that signal is exported.
var signalVariables = map[string]map[string]check{
	traces: batches("OTEL_BSP_"),
	logs:   batches("OTEL_BLRP_"),
	metrics: {
		"OTEL_METRIC_EXPORT_INTERVAL":                    digits,
		"OTEL_METRIC_EXPORT_TIMEOUT":                     digits,
		otlp + metrics + "TEMPORALITY_PREFERENCE":        lowerCase(oneOf("cumulative", "delta", "lowmemory")),
		otlp + metrics + "DEFAULT_HISTOGRAM_AGGREGATION": lowerCase(histogramForm),
	},
}

func batches(prefix string) map[string]check {
	return map[string]check{
		prefix + "EXPORT_TIMEOUT":        digits,
		prefix + "MAX_EXPORT_BATCH_SIZE": digits,
		prefix + "MAX_QUEUE_SIZE":        digits,
		prefix + "SCHEDULE_DELAY":        digits,
	}
}

const otlp = "OTEL_EXPORTER_OTLP_"

// Check returns the faults of the environment, one line for each variable: VARIABLE: WHAT; REMEDY. The variables
// of an exporter matter only if a signal is exported, and endpoint is the configuration's for traces.
func (e Environment) Check(endpoint string) error {
	checks := maps.Clone(variables)
	for name, exported := range map[string]bool{
		traces: e.ExportsTraces(endpoint), metrics: e.Exports(e.Metrics), logs: e.Exports(e.Logs),
	} {
		if !exported {
			continue
		}
		maps.Copy(checks, signalVariables[name])
		for rest, c := range exporterVariables {
			checks[otlp+rest], checks[otlp+name+rest] = c, c
		}
	}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(checks)) {
		value := strings.TrimSpace(os.Getenv(name))
		if value == "" {
			continue
		}
		if what, remedy := checks[name](name, value); what != "" {
			faults = append(faults, fmt.Errorf("%s: %s; %s", name, what, remedy))
		}
	}
	return errors.Join(faults...)
}

func oneOf(words ...string) check {
	return func(_, value string) (what, remedy string) {
		if slices.Contains(words, value) {
			return "", ""
		}
		return fmt.Sprintf("unknown word %q", value), "write one of " + strings.Join(words, ", ")
	}
}

// someOf checks a list of exporters. The word none stands alone.
func someOf(words ...string) check {
	return func(variable, value string) (what, remedy string) {
		list := exporters(value)
		for _, word := range list {
			if what, _ := oneOf(words...)(variable, word); what != "" {
				return what, "write some of " + strings.Join(words, ", ") + ", separated by commas"
			}
		}
		if len(list) > 1 && slices.Contains(list, "none") {
			return `"none" beside another exporter`, `write "none" alone, or leave it out`
		}
		return "", ""
	}
}

// histogramForm refuses what would hold for some histograms only.
func histogramForm(variable, value string) (what, remedy string) {
	if what, _ = oneOf("explicit_bucket_histogram")(variable, value); what != "" {
		return what, "write explicit_bucket_histogram; metrics.native_histograms makes all histograms exponential"
	}
	return "", ""
}

func lowerCase(c check) check {
	return func(variable, value string) (what, remedy string) { return c(variable, strings.ToLower(value)) }
}

func truth(variable, value string) (what, remedy string) {
	return lowerCase(oneOf("true", "false"))(variable, value)
}

func digits(_, value string) (what, remedy string) {
	if _, err := strconv.ParseUint(value, 10, 31); err != nil {
		return fmt.Sprintf("%q is not a whole number", value), "write digits only, such as 5000"
	}
	return "", ""
}

func propagators(_, value string) (what, remedy string) {
	for word := range strings.SplitSeq(value, ",") {
		if _, err := autoprop.TextMapPropagator(word); err != nil {
			return fmt.Sprintf("unknown word %q", word), "write some of tracecontext, baggage, b3, b3multi, jaeger, xray, ottrace, none, separated by commas"
		}
	}
	return "", ""
}

// pairs never shows the value, which may be a secret.
func pairs(_, value string) (what, remedy string) {
	n := 0
	for item := range strings.SplitSeq(value, ",") {
		n++
		name, text, ok := strings.Cut(item, "=")
		name = strings.TrimSpace(name)
		if _, err := url.PathUnescape(text); !ok || err != nil || name == "" || strings.ContainsAny(name, " \t") {
			return fmt.Sprintf("item %d is not name=value", n), "write name=value, separated by commas, with percent-encoded values"
		}
	}
	return "", ""
}

// collectorURL is the address of a collector; gRPC can also reach a socket.
func collectorURL(_, value string) (what, remedy string) {
	shown := value
	if at := strings.LastIndexByte(value, '@'); at >= 0 {
		shown = "…" + value[at:] // without credentials
	}
	const form = `write it as in "http://127.0.0.1:4317"`
	u, err := url.Parse(value)
	switch {
	case strings.HasPrefix(value, "unix:"):
		return "", ""
	case !strings.Contains(value, "://") && shown != value:
		return fmt.Sprintf("no scheme in %q", shown), form
	case !strings.Contains(value, "://"):
		return fmt.Sprintf("no scheme in %q", shown), fmt.Sprintf("write %q", "http://"+shown)
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return fmt.Sprintf("%q is not an http or https URL", shown), form
	}
	return "", ""
}

func authority(_, file string) (what, remedy string) {
	const name = "name a PEM file that pace may read"
	pem, err := os.ReadFile(file)
	if err != nil {
		return err.Error(), name
	}
	if !x509.NewCertPool().AppendCertsFromPEM(pem) {
		return "no certificate in " + file, name
	}
	return "", ""
}

func identification(variable, file string) (what, remedy string) {
	other := strings.TrimSuffix(variable, "CERTIFICATE") + "KEY"
	key := strings.TrimSpace(os.Getenv(other))
	if key == "" {
		return "has no effect without " + other, "set " + other + " as well"
	}
	if _, err := tls.LoadX509KeyPair(file, key); err != nil {
		return err.Error(), "name a certificate and its own key"
	}
	return "", ""
}

func keyOfIdentification(variable, _ string) (what, remedy string) {
	if other := strings.TrimSuffix(variable, "KEY") + "CERTIFICATE"; os.Getenv(other) == "" {
		return "has no effect without " + other, "set " + other + " as well"
	}
	return "", "" // identification looks at both
}
