// Package balance drives the built pace under load while its backends fail: what clients see, what the backends
// were asked, and how soon a backend is asked again.
package balance

import (
	"testing"

	"pace/e2e/pacetest"
)

func TestMain(m *testing.M) { pacetest.MainPlain(m) }

// quiet is the only route. Its log has no lines of requests that went well.
var quiet = pacetest.Table{"match": "/", "upstream": "default", "log": "failures"}
