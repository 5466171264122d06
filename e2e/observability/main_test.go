// Package observability holds what a real Prometheus and a real Jaeger know of pace to what
// clients, backends and the wire say of the same requests. No output of pace is proof of another.
package observability

import (
	"testing"

	"pace/e2e/pacetest"
)

func TestMain(m *testing.M) { pacetest.Main(m) }
