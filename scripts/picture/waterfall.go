package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The shape of OTLP's JSON, as far as a picture needs it.
type (
	trace struct {
		Result struct {
			ResourceSpans []struct {
				ScopeSpans []struct{ Spans []*span }
			}
		}
	}
	span struct {
		TraceID, Name                      string
		Kind                               int
		StartTimeUnixNano, EndTimeUnixNano nanoseconds
		Attributes                         []attribute
		Events                             []event
		Status                             struct {
			Code    int
			Message string
		}
	}
	event struct {
		Name         string
		TimeUnixNano nanoseconds
		Attributes   []attribute
	}
	attribute struct {
		Key   string
		Value map[string]any // one entry, named for the type
	}
	nanoseconds int64 // OTLP writes 64 bits as a string
)

const serverKind, errorCode = 2, 2 // as OTLP numbers them

// UnmarshalJSON implements json.Unmarshaler.
func (n *nanoseconds) UnmarshalJSON(b []byte) (err error) {
	i, err := strconv.ParseInt(string(bytes.Trim(b, `"`)), 10, 64)
	*n = nanoseconds(i)
	return err
}

func (n nanoseconds) since(start nanoseconds) time.Duration { return time.Duration(n - start) }

// shownAttributes begin the names of those attributes that the picture shows: all would not fit.
var shownAttributes = []string{"pace.", "error.", "http.response.", "http.request.resend", "url.path", "server.port"}

func (a attribute) String() string {
	for _, v := range a.Value {
		return fmt.Sprintf("%s=%v", a.Key, v)
	}
	return a.Key
}

// drawWaterfall draws the spans of a trace below each other, each with its events and attributes.
func drawWaterfall(stored []byte) ([]byte, error) {
	var t trace
	if err := json.Unmarshal(stored, &t); err != nil {
		return nil, err
	}
	var spans []*span
	for _, r := range t.Result.ResourceSpans {
		for _, s := range r.ScopeSpans {
			spans = append(spans, s.Spans...)
		}
	}
	slices.SortFunc(spans, func(a, b *span) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.StartTimeUnixNano, b.StartTimeUnixNano))
	})
	if len(spans) < 3 || spans[0].Kind != serverKind {
		return nil, fmt.Errorf("no request with two attempts: %s", stored)
	}
	w := &chart{start: spans[0].StartTimeUnixNano, whole: spans[0].EndTimeUnixNano.since(spans[0].StartTimeUnixNano), y: 26}
	w.text(margin, "#8b949e", "trace "+spans[0].TraceID)
	for _, s := range spans {
		w.span(s)
	}
	height := w.y + margin/2
	background := fmt.Appendf(nil, `<rect width="%d" height="%d" rx="8" fill="#0d1117"/>`+"\n", w.width(), height)
	return canvas(w.width(), height, append(background, w.b.Bytes()...)), nil
}

// chart is a picture that grows downwards.
type chart struct {
	b     bytes.Buffer
	y     int // of the next row's base line
	start nanoseconds
	whole time.Duration
}

func (w *chart) width() int { return int(columns*cell) + 2*margin }

// at returns the horizontal position of a moment.
func (w *chart) at(n nanoseconds) int {
	room := w.width() - 4*margin
	return 2*margin + int(float64(room)*float64(n.since(w.start))/float64(w.whole))
}

func (w *chart) text(x int, fill, s string) {
	fmt.Fprintf(&w.b, `<text x="%d" y="%d" fill="%s" xml:space="preserve">%s</text>`+"\n", x, w.y, fill, escape(s))
	w.y += leading
}

func (w *chart) span(s *span) {
	w.y += leading / 2
	fill, name, indent := "#388bfd", "SERVER "+s.Name, margin
	if s.Kind != serverKind {
		fill, name, indent = "#3fb950", "CLIENT "+s.Name, 2*margin
	}
	if s.Status.Code == errorCode {
		fill = "#f85149"
	}
	duration := fmt.Sprintf("%.1f ms", s.EndTimeUnixNano.since(s.StartTimeUnixNano).Seconds()*1000)
	w.text(indent, "#e6edf3", name+"  "+duration)
	from, to := w.at(s.StartTimeUnixNano), w.at(s.EndTimeUnixNano)
	fmt.Fprintf(&w.b, `<rect x="%d" y="%d" width="%d" height="12" rx="3" fill="%s"/>`+"\n", from, w.y-10, max(to-from, 2), fill)
	for _, e := range s.Events {
		x := w.at(e.TimeUnixNano)
		fmt.Fprintf(&w.b, `<path d="M%d %d l7 7 l-7 7 l-7 -7 z" fill="#e3b341" stroke="#0d1117"/>`+"\n", x, w.y-11)
	}
	w.y += leading
	for _, e := range s.Events {
		w.list(indent+margin, "#e3b341", "◆ "+e.Name, e.Attributes)
	}
	if s.Status.Message != "" {
		w.wrapped(indent+margin, "#ffa198", s.Status.Message)
	}
	w.list(indent+margin, "#8b949e", "", slices.DeleteFunc(s.Attributes, func(a attribute) bool {
		return !slices.ContainsFunc(shownAttributes, func(p string) bool { return strings.HasPrefix(a.Key, p) })
	}))
}

// list writes attributes in as few rows as they need.
func (w *chart) list(x int, fill, row string, attributes []attribute) {
	room := int(float64(w.width()-x-margin) / cell)
	for _, a := range attributes {
		next := a.String()
		if row != "" && len(row)+2+len(next) > room {
			w.text(x, fill, row)
			row = "  "
		}
		row = strings.TrimLeft(row+"  "+next, " ")
	}
	w.text(x, fill, row)
}

// wrapped writes a sentence in as many rows as it needs.
func (w *chart) wrapped(x int, fill, sentence string) {
	room := int(float64(w.width()-x-margin) / cell)
	row := ""
	for word := range strings.FieldsSeq(sentence) {
		if row != "" && len(row)+1+len(word) > room {
			w.text(x, fill, row)
			row = ""
		}
		row = strings.TrimLeft(row+" "+word, " ")
	}
	w.text(x, fill, row)
}
