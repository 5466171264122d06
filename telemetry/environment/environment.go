// Package environment reads the OTEL_* variables once, into one value. It also checks the variables that
// OpenTelemetry's libraries read themselves, because the libraries ignore invalid values silently. It must not
// know records, signals, or any other package of pace.
package environment

import (
	"cmp"
	"os"
	"strconv"
	"strings"
	"time"
)

// Environment is the values of the OTEL_* variables that pace itself uses. The libraries read the others
// themselves: the certificates, headers and timeouts of an exporter, and the resource.
type Environment struct {
	Disabled    bool   // OTEL_SDK_DISABLED is true
	Exporter    string // OTEL_TRACES_EXPORTER
	Propagators string // OTEL_PROPAGATORS, without blanks around it
	Sampler     string // OTEL_TRACES_SAMPLER
	SamplerArg  string // OTEL_TRACES_SAMPLER_ARG
	Protocol    string // OTEL_EXPORTER_OTLP_TRACES_PROTOCOL, or else OTEL_EXPORTER_OTLP_PROTOCOL
	Endpoint    string // OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, or else OTEL_EXPORTER_OTLP_ENDPOINT
	OTLP        bool   // any OTEL_EXPORTER_OTLP_* variable is set

	// The limits of the queue of spans; 0: not set.
	QueueSize     int           // OTEL_BSP_MAX_QUEUE_SIZE, in requests
	BatchSize     int           // OTEL_BSP_MAX_EXPORT_BATCH_SIZE, in spans
	Delay         time.Duration // OTEL_BSP_SCHEDULE_DELAY
	ExportTimeout time.Duration // OTEL_BSP_EXPORT_TIMEOUT
}

// Read reads the environment of the process.
func Read() Environment {
	return Environment{
		Disabled:    strings.EqualFold(strings.TrimSpace(os.Getenv("OTEL_SDK_DISABLED")), "true"),
		Exporter:    os.Getenv("OTEL_TRACES_EXPORTER"),
		Propagators: strings.TrimSpace(os.Getenv("OTEL_PROPAGATORS")),
		Sampler:     os.Getenv("OTEL_TRACES_SAMPLER"),
		SamplerArg:  os.Getenv("OTEL_TRACES_SAMPLER_ARG"),
		Protocol:    cmp.Or(os.Getenv(otlp+"TRACES_PROTOCOL"), os.Getenv(otlp+"PROTOCOL")),
		Endpoint:    cmp.Or(os.Getenv(otlp+"TRACES_ENDPOINT"), os.Getenv(otlp+"ENDPOINT")),
		OTLP:        anyOTLP(),

		QueueSize:     positive("OTEL_BSP_MAX_QUEUE_SIZE"),
		BatchSize:     positive("OTEL_BSP_MAX_EXPORT_BATCH_SIZE"),
		Delay:         time.Duration(positive("OTEL_BSP_SCHEDULE_DELAY")) * time.Millisecond,
		ExportTimeout: time.Duration(positive("OTEL_BSP_EXPORT_TIMEOUT")) * time.Millisecond,
	}
}

// Exports reports whether the environment, or else the configuration's endpoint, names an exporter.
func (e Environment) Exports(endpoint string) bool {
	switch e.Exporter {
	case "none":
		return false
	case "":
		return !e.Disabled && (endpoint != "" || e.OTLP)
	}
	return !e.Disabled
}

func anyOTLP() bool {
	for _, pair := range os.Environ() {
		if name, value, _ := strings.Cut(pair, "="); value != "" && strings.HasPrefix(name, otlp) {
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
