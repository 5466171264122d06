package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"pace/telemetry"
)

func tailCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "tail",
		Short: "Show interesting requests of a running pace as they end",
		Long: "Show the requests of a running pace that failed, were rejected or retried, whose client left, or that were\n" +
			"slow, as they end: one line each, with the id for pace explain. It ends with Ctrl-C.",
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			outcome, route := c.Flags().Lookup("outcome").Value.String(), c.Flags().Lookup("route").Value.String()
			if words := telemetry.WordsOf(telemetry.Outcomes()); outcome != "" && !slices.Contains(words, outcome) {
				return usageError(c, fmt.Errorf("unknown outcome %q; write one of %s", outcome, strings.Join(words, ", ")))
			}
			r, err := runningOf(c)
			if err != nil {
				return err
			}
			return r.tail(c, url.Values{"outcome": {outcome}, "route": {route}})
		},
	}
	takeAdmin(c)
	c.Flags().String("outcome", "", "only those that ended with `WORD`, such as upstream_timeout")
	c.Flags().String("route", "", "only those of the route `NAME`")
	return c
}

// tail writes a line for each exchange until a signal comes.
func (r *running) tail(c *cobra.Command, filter url.Values) error {
	ctx, stop := signal.NotifyContext(c.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	resp, err := r.get(ctx, "tail?"+filter.Encode())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxRecord)
	for lines.Scan() {
		data, is := strings.CutPrefix(lines.Text(), "data: ")
		if lost, comment := strings.CutPrefix(lines.Text(), ": "); comment {
			fmt.Fprintln(c.ErrOrStderr(), "pace tail:", telemetry.Printable(lost))
		}
		var e exchange
		if is && json.Unmarshal([]byte(data), &e) == nil {
			fmt.Fprintln(c.OutOrStdout(), e.line())
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return runFailure{errors.New(r.address + ": it ended the connection")}
}

// line returns a summary of the exchange in one line.
func (e *exchange) line() string {
	backend := ""
	if e.Backend != "" {
		backend = " " + e.Backend
	}
	return telemetry.Printable(fmt.Sprintf("%s %s %d %s %s %.3fms %s%s %s",
		e.At.Format(time.TimeOnly), e.Outcome, e.Status, e.Method, e.Path, e.Duration, e.Client, backend, e.TraceID))
}
