// Package contract compares the built pace with every row of interface.md, by what clients and backends
// recorded. A test's file has the name of the section that it tests.
package contract

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pace/e2e/pacetest"
)

// errRejected keeps a poll going while a limiter says no.
var errRejected = errors.New("still rejected")

func TestMain(m *testing.M) { pacetest.Main(m) }

// upstreams is a configuration whose pool is backends.
func upstreams(backends ...interface{ Address() string }) pacetest.Config {
	return pacetest.Config{"upstreams": pacetest.Upstreams(backends...)}
}

// set returns cfg with one more key.
func set(cfg pacetest.Config, table, key string, value any) pacetest.Config {
	if cfg[table] == nil {
		cfg[table] = pacetest.Table{}
	}
	cfg[table] = cfg[table].With(key, value)
	return cfg
}

// unhurried returns cfg with a connect_timeout that a handshake on a busy machine does not exceed.
func unhurried(cfg pacetest.Config) pacetest.Config {
	return set(cfg, "upstreams", "connect_timeout", "30s")
}

// wantStatus fails t unless the response is complete and has this status.
func wantStatus(t *testing.T, got pacetest.Response, status int) {
	t.Helper()
	if got.Err != nil || got.Status != status {
		t.Fatalf("the client got status %d, body %q, error %v; want %d", got.Status, got.Body, got.Err, status)
	}
}

// wantAttr fails t unless an attribute is want; ints compare as int64.
func wantAttr(t *testing.T, attrs map[string]any, key string, want any) {
	t.Helper()
	if n, ok := want.(int); ok {
		want = int64(n)
	}
	if got, ok := attrs[key]; !ok || got != want {
		t.Errorf("attribute %s = %v (present: %t), want %v", key, got, ok, want)
	}
}

// lacksAttr fails t if an attribute is there.
func lacksAttr(t *testing.T, attrs map[string]any, key string) {
	t.Helper()
	if got, ok := attrs[key]; ok {
		t.Errorf("attribute %s = %v, want none", key, got)
	}
}

// notYet says what a poll still waits for.
func notYet(format string, args ...any) error { return fmt.Errorf(format, args...) }

// freePort returns a port that stays reserved for a process that asks for it by number.
func freePort(t *testing.T) int {
	t.Helper()
	return pacetest.NewClosed(t).Port()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
