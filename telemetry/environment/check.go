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
	"OTEL_PROPAGATORS":         propagators,
	"OTEL_RESOURCE_ATTRIBUTES": resourceAttributes,
	"OTEL_SDK_DISABLED":        truth,
	"OTEL_SERVICE_NAME":        plainText,
}

// exporterVariables matter only if spans are exported. Each name that begins with otlp stands for two variables:
// the second one is for traces alone.
var exporterVariables = map[string]check{
	"OTEL_BSP_EXPORT_TIMEOUT":        digits,
	"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": digits,
	"OTEL_BSP_MAX_QUEUE_SIZE":        digits,
	"OTEL_BSP_SCHEDULE_DELAY":        digits,

	otlp + "CERTIFICATE":        authority,
	otlp + "CLIENT_CERTIFICATE": identification,
	otlp + "CLIENT_KEY":         keyOfIdentification,
	otlp + "COMPRESSION":        oneOf("gzip", "none"),
	otlp + "ENDPOINT":           collectorURL,
	otlp + "HEADERS":            pairs,
	otlp + "INSECURE":           truth,
	otlp + "TIMEOUT":            digits,
}

const otlp = "OTEL_EXPORTER_OTLP_"

// Check returns the faults of the environment, one line for each variable: VARIABLE: WHAT; REMEDY. exporting
// says whether spans are exported, and so whether the variables of the exporter matter.
func Check(exporting bool) error {
	checks := maps.Clone(variables)
	if exporting {
		for name, c := range exporterVariables {
			checks[name] = c
			if rest, ok := strings.CutPrefix(name, otlp); ok {
				checks[otlp+"TRACES_"+rest] = c
			}
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

func truth(variable, value string) (what, remedy string) {
	return oneOf("true", "false")(variable, strings.ToLower(value))
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
