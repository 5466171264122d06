// Package environment reads the OTEL_* variables once, into one value. It also checks the variables that
// OpenTelemetry's libraries read themselves, because the libraries ignore invalid values silently. It must not
// know records, signals, or any other package of pace.
package environment

import (
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Environment is the values of the OTEL_* variables that pace itself uses. The libraries read the others
// themselves: the certificates, headers and timeouts of an exporter, and the resource.
type Environment struct {
	Disabled    bool   // OTEL_SDK_DISABLED is true
	Propagators string // OTEL_PROPAGATORS, without blanks around it
	Sampler     string // OTEL_TRACES_SAMPLER
	SamplerArg  string // OTEL_TRACES_SAMPLER_ARG
	OTLP        bool   // any OTEL_EXPORTER_OTLP_* variable is set that is not of metrics or logs alone

	Traces, Metrics, Logs Signal

	Spans Batches // OTEL_BSP_*; the queue's size is in requests
	Lines Batches // OTEL_BLRP_*
}

// Signal is what the variables say of the export of one signal; X stands for TRACES, METRICS or LOGS.
type Signal struct {
	Exporter string // OTEL_X_EXPORTER, without blanks around it
	Protocol string // OTEL_EXPORTER_OTLP_X_PROTOCOL, or else OTEL_EXPORTER_OTLP_PROTOCOL
	Endpoint string // OTEL_EXPORTER_OTLP_X_ENDPOINT, or else OTEL_EXPORTER_OTLP_ENDPOINT
	Path     string // at which collectors take the signal over HTTP
}

// Batches are the limits of a queue whose content is exported in batches; 0: not set.
type Batches struct {
	QueueSize int           // …_MAX_QUEUE_SIZE
	Size      int           // …_MAX_EXPORT_BATCH_SIZE
	Delay     time.Duration // …_SCHEDULE_DELAY
	Timeout   time.Duration // …_EXPORT_TIMEOUT
}

// Read reads the environment of the process.
func Read() Environment {
	return Environment{
		Disabled:    strings.EqualFold(strings.TrimSpace(os.Getenv("OTEL_SDK_DISABLED")), "true"),
		Propagators: strings.TrimSpace(os.Getenv("OTEL_PROPAGATORS")),
		Sampler:     os.Getenv("OTEL_TRACES_SAMPLER"),
		SamplerArg:  os.Getenv("OTEL_TRACES_SAMPLER_ARG"),
		OTLP:        anyOTLP(),

		Traces:  readSignal(traces, "/v1/traces"),
		Metrics: readSignal(metrics, "/v1/metrics"),
		Logs:    readSignal(logs, "/v1/logs"),

		Spans: readBatches("OTEL_BSP_"),
		Lines: readBatches("OTEL_BLRP_"),
	}
}

// The parts of variables' names that stand for a signal.
const (
	traces  = "TRACES_"
	metrics = "METRICS_"
	logs    = "LOGS_"
)

func readSignal(name, path string) Signal {
	return Signal{
		Exporter: strings.TrimSpace(os.Getenv("OTEL_" + name + "EXPORTER")),
		Protocol: cmp.Or(os.Getenv(otlp+name+"PROTOCOL"), os.Getenv(otlp+"PROTOCOL")),
		Endpoint: cmp.Or(os.Getenv(otlp+name+"ENDPOINT"), os.Getenv(otlp+"ENDPOINT")),
		Path:     path,
	}
}

func readBatches(prefix string) Batches {
	return Batches{
		QueueSize: positive(prefix + "MAX_QUEUE_SIZE"),
		Size:      positive(prefix + "MAX_EXPORT_BATCH_SIZE"),
		Delay:     time.Duration(positive(prefix+"SCHEDULE_DELAY")) * time.Millisecond,
		Timeout:   time.Duration(positive(prefix+"EXPORT_TIMEOUT")) * time.Millisecond,
	}
}

// ExportsTraces reports whether the environment, or else the configuration's endpoint, names an exporter.
func (e Environment) ExportsTraces(endpoint string) bool {
	switch e.Traces.Exporter {
	case "none":
		return false
	case "":
		return !e.Disabled && (endpoint != "" || e.OTLP)
	}
	return !e.Disabled
}

// Exports reports whether metrics or logs, which must be asked for by name, go to a collector.
func (e Environment) Exports(s Signal) bool {
	return !e.Disabled && slices.Contains(exporters(s.Exporter), "otlp")
}

// exporters returns the words of a list that is separated by commas.
func exporters(list string) (words []string) {
	for word := range strings.SplitSeq(list, ",") {
		words = append(words, strings.TrimSpace(word))
	}
	return words
}

func anyOTLP() bool {
	for _, pair := range os.Environ() {
		name, value, _ := strings.Cut(pair, "=")
		rest, ours := strings.CutPrefix(name, otlp)
		if ours && value != "" && !strings.HasPrefix(rest, metrics) && !strings.HasPrefix(rest, logs) {
			return true
		}
	}
	return false
}

// positive returns the value of a variable as a number, 0 if it is not a positive number.
func positive(name string) int {
	n, _ := strconv.Atoi(os.Getenv(name))
	return max(n, 0)
}
