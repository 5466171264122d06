package otlp

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	logspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	logpb "go.opentelemetry.io/proto/otlp/logs/v1"
)

// Line is one log record with its resource.
type Line struct {
	Time            time.Time
	Severity        int // OTLP's number: 9 is INFO, 13 WARN, 17 ERROR
	SeverityText    string
	Body            any
	Attrs           map[string]any
	TraceID, SpanID string // lower-case hex
	Flags           uint32 // W3C's in the lowest byte
	Resource        map[string]any
	Scope           string
}

// Lines decodes what an export of logs holds.
func Lines(resources []*logpb.ResourceLogs) (lines []Line) {
	for _, r := range resources {
		resource := attrs(r.GetResource().GetAttributes())
		for _, scope := range r.GetScopeLogs() {
			for _, l := range scope.GetLogRecords() {
				lines = append(lines, Line{
					Time: moment(l.TimeUnixNano), Severity: int(l.SeverityNumber), SeverityText: l.SeverityText,
					Body: value(l.Body), Attrs: attrs(l.Attributes), TraceID: hex.EncodeToString(l.TraceId), SpanID: hex.EncodeToString(l.SpanId),
					Flags: l.Flags, Resource: resource, Scope: scope.GetScope().GetName(),
				})
			}
		}
	}
	return lines
}

// Lines returns all log records received so far, in the order of arrival.
func (r *Recv) Lines() []Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.lines)
}

// WaitLines waits until enough says yes to the log records received, and returns them.
func (r *Recv) WaitLines(enough func([]Line) bool) []Line {
	r.t.Helper()
	return wait(r, &r.lines, enough)
}

func (r *Recv) keepLogs(req *logspb.ExportLogsServiceRequest) *logspb.ExportLogsServiceResponse {
	lines := Lines(req.GetResourceLogs())
	rejected, why := r.accept(len(lines), func(rejected int) { r.lines = append(r.lines, lines[rejected:]...) })
	if rejected == 0 && why == "" {
		return &logspb.ExportLogsServiceResponse{}
	}
	return &logspb.ExportLogsServiceResponse{
		PartialSuccess: &logspb.ExportLogsPartialSuccess{RejectedLogRecords: int64(rejected), ErrorMessage: why},
	}
}

type logsService struct {
	logspb.UnimplementedLogsServiceServer
	r *Recv
}

// Export is the gRPC side.
func (s logsService) Export(ctx context.Context, req *logspb.ExportLogsServiceRequest) (*logspb.ExportLogsServiceResponse, error) {
	if err := s.r.failGRPC(ctx, Logs); err != nil {
		return nil, err
	}
	return s.r.keepLogs(req), nil
}
