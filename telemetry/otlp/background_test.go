package otlp

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
)

// Clients may cause a panic any number of times, but one line says so.
func TestBackground_LogsAPanicOnce(t *testing.T) {
	var log bytes.Buffer
	b := NewBackground("spans", slog.New(slog.NewTextHandler(&log, nil)))
	for range 3 {
		b.Panicked("a bug")
	}
	if n := strings.Count(log.String(), `msg="bug of pace: it panicked while it made spans" panic="a bug" stack=`); n != 1 {
		t.Errorf("said %d times, want once:\n%s", n, log.String())
	}
}
