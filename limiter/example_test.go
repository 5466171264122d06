package limiter_test

import (
	"fmt"
	"net/netip"
	"time"

	"pace/limiter"
)

// A client may make two requests a minute. The third has to wait until the first is a minute old.
func ExampleWindow_Allow() {
	window := limiter.NewWindow(limiter.Options{Max: 2, Per: time.Minute})
	client := limiter.ClientIP(netip.MustParseAddr("203.0.113.7"))
	began := time.Now()
	for _, after := range []time.Duration{0, 10 * time.Second, 20 * time.Second, time.Minute} {
		d := window.Allow(client, began.Add(after))
		fmt.Printf("after %v: denied %v, remaining %d, next in %v\n", after, d.Denied, d.Remaining, d.Reset)
	}

	// Output:
	// after 0s: denied false, remaining 1, next in 0s
	// after 10s: denied false, remaining 0, next in 50s
	// after 20s: denied true, remaining 0, next in 40s
	// after 1m0s: denied false, remaining 0, next in 10s
}
