package traces

import (
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"pace/telemetry"
)

// span is an ended span for an exporter, made from an ended record.
type span struct {
	sdktrace.ReadOnlySpan // for its unexported method alone

	name       string
	kind       trace.SpanKind
	context    trace.SpanContext
	parent     trace.SpanContext
	start, end time.Time
	attributes []attribute.KeyValue
	events     []sdktrace.Event
	links      []sdktrace.Link
	status     sdktrace.Status
	children   int
	resource   *resource.Resource
	scope      instrumentation.Scope
}

func (s *span) Name() string                                { return s.name }
func (s *span) SpanContext() trace.SpanContext              { return s.context }
func (s *span) Parent() trace.SpanContext                   { return s.parent }
func (s *span) SpanKind() trace.SpanKind                    { return s.kind }
func (s *span) StartTime() time.Time                        { return s.start }
func (s *span) EndTime() time.Time                          { return s.end }
func (s *span) Attributes() []attribute.KeyValue            { return s.attributes }
func (s *span) Links() []sdktrace.Link                      { return s.links }
func (s *span) Events() []sdktrace.Event                    { return s.events }
func (s *span) Status() sdktrace.Status                     { return s.status }
func (s *span) InstrumentationScope() instrumentation.Scope { return s.scope }
func (s *span) Resource() *resource.Resource                { return s.resource }
func (s *span) DroppedAttributes() int                      { return 0 }
func (s *span) DroppedLinks() int                           { return 0 }
func (s *span) DroppedEvents() int                          { return 0 }
func (s *span) ChildSpanCount() int                         { return s.children }

// spanCount is how many spans appendSpans makes.
func spanCount(r *telemetry.Record) int {
	if r.Mirror {
		return len(r.Attempts)
	}
	return 1 + len(r.Attempts)
}

// appendSpansOf appends the SERVER span of the record, unless it is a mirror's, and a CLIENT span for each attempt.
func (q *spanQueue) appendSpansOf(r *telemetry.Record, to []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	if !r.Mirror {
		to = append(to, q.serverSpan(r))
	}
	for i := range r.Attempts {
		to = append(to, q.clientSpan(r, i))
	}
	return to
}

func (q *spanQueue) serverSpan(r *telemetry.Record) *span {
	s := &span{
		name: spanName(r), kind: trace.SpanKindServer,
		context: sampled(r.Identity.Context), parent: r.Identity.Parent,
		start: r.Start, end: r.End,
		attributes: attributes(r), events: events(r),
		children: len(r.Attempts),
		resource: q.resource, scope: q.scope,
	}
	s.links = links(r)
	if r.Failed() {
		s.status = sdktrace.Status{Code: codes.Error, Description: telemetry.Printable(r.LastError())}
	}
	return s
}

func links(r *telemetry.Record) (list []sdktrace.Link) {
	for _, l := range r.Identity.Links {
		list = append(list, sdktrace.Link{SpanContext: l.SpanContext, Attributes: l.Attributes})
	}
	return list
}

func spanName(r *telemetry.Record) string {
	m := telemetry.KnownMethod(r.Method)
	if m == telemetry.OtherMethod {
		m = "HTTP"
	}
	if r.RoutePath() == "" {
		return m
	}
	return m + " " + r.RoutePath()
}

func attributes(r *telemetry.Record) []attribute.KeyValue {
	facts := telemetry.Facts()
	list := make([]attribute.KeyValue, 0, len(facts))
	for i := range facts {
		if f := &facts[i]; f.Attribute != "" {
			list = telemetry.AppendAttribute(list, f.Attribute, f.Value(r))
		}
	}
	return list
}

// events returns the span events of the record, in order of time. To move pace from span events to log-based
// events (OTEP 4430), change this function.
func events(r *telemetry.Record) (list []sdktrace.Event) {
	for _, h := range r.Happenings() {
		e := sdktrace.Event{Name: h.Name, Time: h.At}
		for name, v := range h.Details {
			e.Attributes = telemetry.AppendAttribute(e.Attributes, name, v)
		}
		list = append(list, e)
	}
	return list
}

// attemptAttributes are the details of an attempt that are attributes of its span.
var attemptAttributes = telemetry.On(telemetry.OnSpan, telemetry.AttemptDetails)

func (q *spanQueue) clientSpan(r *telemetry.Record, i int) *span {
	a := &r.Attempts[i]
	s := &span{
		name: telemetry.KnownMethod(r.Method), kind: trace.SpanKindClient,
		context: sampled(r.Identity.Context).WithSpanID(a.Span), parent: r.Identity.Context,
		start: a.Start, end: a.End,
		resource: q.resource, scope: q.scope,
		attributes: telemetry.Attributes(attemptAttributes, &telemetry.AttemptOf{Record: r, Attempt: a, Index: i}),
	}
	if s.name == telemetry.OtherMethod {
		s.name = "HTTP"
	}
	if r.Mirror { // it has no SERVER span, which would be its parent and have the links and the events
		s.parent, s.links, s.events = trace.SpanContext{}, links(r), events(r)
	}
	if a.Failed() {
		s.status = sdktrace.Status{Code: codes.Error, Description: telemetry.Printable(a.Error)}
	}
	return s
}
