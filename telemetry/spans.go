package telemetry

import (
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// span is an ended span as an exporter reads it, made after the fact from a record.
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

// spanCount is how many spans [Record.appendSpans] makes.
func (r *Record) spanCount() int { return 1 + len(r.Attempts) }

// appendSpans appends the SERVER span of the record and a CLIENT span for each attempt.
func (r *Record) appendSpans(to []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	to = append(to, r.serverSpan())
	for i := range r.Attempts {
		to = append(to, r.clientSpan(i))
	}
	return to
}

func (r *Record) serverSpan() *span {
	s := &span{
		name: r.spanName(), kind: trace.SpanKindServer,
		context: r.identity.context, parent: r.identity.parent,
		start: r.Start, end: r.end,
		attributes: r.attributes(), events: r.events(),
		children: len(r.Attempts),
		resource: r.t.resource, scope: r.t.scope,
	}
	for _, l := range r.identity.links {
		s.links = append(s.links, sdktrace.Link{SpanContext: l.SpanContext, Attributes: l.Attributes})
	}
	if r.failed() {
		s.status = sdktrace.Status{Code: codes.Error, Description: printable(r.error())}
	}
	return s
}

func (r *Record) spanName() string {
	m := knownMethod(r.Method)
	if m == other {
		m = "HTTP"
	}
	if r.Route == "" {
		return m
	}
	return m + " " + r.Route
}

func (r *Record) attributes() []attribute.KeyValue {
	list := make([]attribute.KeyValue, 0, len(facts)+int(phaseCount))
	for i := range facts {
		if f := &facts[i]; f.Attribute != "" {
			list = appendAttribute(list, f.Attribute, f.value(r))
		}
	}
	list[0] = attribute.String(facts[0].Attribute, knownMethod(r.Method))
	return list
}

// appendAttribute appends name with v, unless v is absent.
func appendAttribute(list []attribute.KeyValue, name string, v slog.Value) []attribute.KeyValue {
	switch v.Kind() {
	case slog.KindString:
		return append(list, attribute.String(name, v.String()))
	case slog.KindInt64:
		return append(list, attribute.Int64(name, v.Int64()))
	case slog.KindFloat64:
		return append(list, attribute.Float64(name, v.Float64()))
	case slog.KindBool:
		return append(list, attribute.Bool(name, v.Bool()))
	}
	return list
}

// events are the span events of the record, in order of time. Whoever moves pace from span
// events to log-based events (OTEP 4430) changes this function.
func (r *Record) events() []sdktrace.Event {
	var list []sdktrace.Event
	for i := range r.Limited {
		l := &r.Limited[i]
		list = append(list, sdktrace.Event{Name: eventLimited, Time: l.At, Attributes: attributesOf(limitedDetails, l)})
	}
	for i := range r.Failovers {
		f := &r.Failovers[i]
		list = append(list, sdktrace.Event{Name: eventFailover, Time: f.At, Attributes: attributesOf(failoverDetails, f)})
	}
	for i := range r.Retries {
		y := &r.Retries[i]
		list = append(list, sdktrace.Event{Name: eventRetry, Time: y.At, Attributes: attributesOf(retryDetails, y)})
	}
	slices.SortStableFunc(list, func(a, b sdktrace.Event) int { return cmp.Compare(a.Time.UnixNano(), b.Time.UnixNano()) })
	return list
}

func (r *Record) clientSpan(i int) *span {
	a := &r.Attempts[i]
	s := &span{
		name: knownMethod(r.Method), kind: trace.SpanKindClient,
		context: r.identity.context.WithSpanID(a.span), parent: r.identity.context,
		start: a.Start, end: a.End,
		resource: r.t.resource, scope: r.t.scope,
		attributes: attributesOf(attemptDetails, &attemptOf{r, a, i}),
	}
	if s.name == other {
		s.name = "HTTP"
	}
	if a.failed() {
		s.status = sdktrace.Status{Code: codes.Error, Description: printable(a.Error)}
	}
	return s
}

func (r *Record) fullURL(a *Attempt) string {
	var b strings.Builder
	b.WriteString("http://")
	b.WriteString(a.Backend)
	b.WriteString(r.Path)
	if q := redact(r.Query, r.t.queryAllow); q != "" {
		b.WriteByte('?')
		b.WriteString(q)
	}
	return b.String()
}
