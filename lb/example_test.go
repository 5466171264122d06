package lb_test

import (
	"fmt"

	"pace/lb"
)

// A caller that fails at one backend picks again, and names those it has tried.
func ExamplePool_Pick() {
	pool := lb.NewPool([]lb.Member{
		{Backend: &lb.Backend{Addr: "10.0.0.7:8000"}, Weight: 1},
		{Backend: &lb.Backend{Addr: "10.0.0.8:8000"}, Weight: 1},
	})

	first := pool.Pick(lb.Request{})
	fmt.Println(first.Backend.Addr, first.Reason)

	next := pool.Pick(lb.Request{Tried: []*lb.Backend{first.Backend}})
	fmt.Println(next.Backend.Addr, next.Reason)

	last := pool.Pick(lb.Request{Tried: []*lb.Backend{first.Backend, next.Backend}})
	fmt.Println(last.Backend, last.Reason, "after", last.Passed)

	// Output:
	// 10.0.0.7:8000 in_turn
	// 10.0.0.8:8000 in_turn
	// <nil> all_tried after 2
}
