package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"pace/telemetry"
	"pace/telemetry/recent"
)

// explainTrace explains a recent exchange of a running pace: that of the trace, or the last one that failed.
func explainTrace(c *cobra.Command, traceID string, asJSON bool) error {
	r, err := runningOf(c)
	if err != nil {
		return err
	}
	raw, err := r.record(c.Context(), traceID)
	if err != nil {
		return err
	}
	if asJSON {
		var b bytes.Buffer
		json.Indent(&b, raw, "", "  ")
		_, err := b.WriteTo(c.OutOrStdout())
		return err
	}
	var e exchange
	if err := json.Unmarshal(raw, &e); err != nil {
		return runFailure{fmt.Errorf("%s: what it responds is no exchange: %w", r.address, err)}
	}
	e.write(c.OutOrStdout(), isTerminal(c.OutOrStdout()))
	return nil
}

// record returns the record of a trace, or of the last failure.
func (r *running) record(ctx context.Context, traceID string) (json.RawMessage, error) {
	if traceID != "" {
		resp, err := r.get(ctx, "requests/"+traceID)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(io.LimitReader(resp.Body, maxRecord))
	}
	var last json.RawMessage
	var ended time.Time
	for _, side := range []telemetry.Side{telemetry.BackendSide, telemetry.PaceSide, telemetry.LimiterSide} {
		raw, e, err := r.lastOf(ctx, side)
		if err != nil {
			return nil, err
		}
		if raw != nil && (last == nil || e.ended().After(ended)) {
			last, ended = raw, e.ended()
		}
	}
	if last == nil {
		return nil, runFailure{fmt.Errorf("%s: no recent exchange failed; name a trace id, as in X-Trace-Id, to explain another one", r.address)}
	}
	return last, nil
}

// lastOf returns the last exchange whose outcome the side caused; nil if there is none.
func (r *running) lastOf(ctx context.Context, side telemetry.Side) (raw json.RawMessage, e exchange, err error) {
	resp, err := r.get(ctx, "requests?limit=1&side="+url.QueryEscape(string(side)))
	if err != nil {
		return nil, e, err
	}
	defer resp.Body.Close()
	var list struct{ Requests []json.RawMessage }
	if err = json.NewDecoder(io.LimitReader(resp.Body, maxRecord)).Decode(&list); err == nil && len(list.Requests) > 0 {
		raw = list.Requests[0]
		err = json.Unmarshal(raw, &e)
	}
	if err != nil {
		return nil, e, runFailure{fmt.Errorf("%s: what it responds is no list of exchanges: %w", r.address, err)}
	}
	return raw, e, nil
}

// exchange has the fields of the API's record that the command shows.
type exchange struct {
	TraceID     string    `json:"trace_id"`
	At          time.Time `json:"at"`
	Method      string
	Path        string
	Status      int
	Outcome     string
	Client      string
	Backend     string
	Duration    float64       `json:"duration_ms"`
	Phases      orderedPhases `json:"phases"`
	Explanation []string
}

func (e *exchange) ended() time.Time {
	return e.At.Add(time.Duration(e.Duration * float64(time.Millisecond)))
}

// orderedPhases are the milliseconds in each phase, in the order of the record.
type orderedPhases []phaseTime

type phaseTime struct {
	name string
	ms   float64
}

// UnmarshalJSON implements json.Unmarshaler.
func (p *orderedPhases) UnmarshalJSON(raw []byte) error {
	var times map[string]float64
	if err := json.Unmarshal(raw, &times); err != nil {
		return err
	}
	for i := range telemetry.PhaseCount {
		if ms, ok := times[i.String()]; ok {
			*p = append(*p, phaseTime{i.String(), ms})
		}
	}
	return nil
}

// columns is the width of the text: it fits most terminals, and reads well in a message.
const columns = 80

// write writes the sentences, and on a terminal a bar for each phase.
func (e *exchange) write(w io.Writer, terminal bool) {
	for _, line := range wrapped(e.Explanation, columns) {
		fmt.Fprintln(w, line)
	}
	if terminal && len(e.Phases) > 0 {
		fmt.Fprintln(w)
		for _, line := range e.Phases.bars(columns) {
			fmt.Fprintln(w, line)
		}
	}
}

// wrapped joins sentences to lines of at most so many columns, where words allow it.
func wrapped(sentences []string, columns int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(strings.Join(printable(sentences), " ")) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= columns:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// printable removes control characters from sentences, which may contain text from clients.
func printable(sentences []string) (clean []string) {
	for _, s := range sentences {
		clean = append(clean, telemetry.Printable(s))
	}
	return clean
}

// bars draws a bar for each phase, with its share of the whole time. Phases that alternate are drawn as one.
func (p orderedPhases) bars(columns int) (lines []string) {
	whole, before := 0.0, 0.0
	for _, t := range p {
		whole += t.ms
	}
	const head = 27 // name, time and a space
	width := float64(columns - head)
	for _, t := range p {
		from, to := 0, 0
		if whole > 0 {
			from, to = int(before/whole*(width-1)), int((before+t.ms)/whole*(width-1))
		}
		lines = append(lines, fmt.Sprintf("%-12s %10.3f ms %s%s", t.name, t.ms, strings.Repeat(" ", from), strings.Repeat("█", max(1, to-from))))
		before += t.ms
	}
	return lines
}

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// checkTraceID returns an error if id is not a trace id.
func checkTraceID(s string) error {
	if !recent.IsTraceID(s) {
		return errors.New(`"` + telemetry.Printable(s) + `" is not a trace id; write its 32 hexadecimal digits, as in X-Trace-Id`)
	}
	return nil
}
