package route

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
)

// services returns n patterns as of many services behind one pace, and requests that each takes one.
func services(n int) (patterns []string, requests []Request) {
	for i := range n / 2 {
		patterns = append(patterns, fmt.Sprintf("/service%d/", i), fmt.Sprintf("GET /api/v1/service%d/items/{id}", i))
		requests = append(requests,
			Request{Method: "POST", Host: "shop.example", Path: fmt.Sprintf("/service%d/orders/17", i)},
			Request{Method: "GET", Host: "shop.example", Path: fmt.Sprintf("/api/v1/service%d/items/17", i)})
	}
	return patterns, requests
}

// BenchmarkMatch asks for all routes in turn, and has ServeMux beside it.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 100, 10_000} {
		patterns, requests := services(n)
		b.Run(fmt.Sprintf("routes=%d/impl=pace", n), func(b *testing.B) {
			made := table(b, patterns...)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if made.Match(requests[i%len(requests)]).Route == nil {
					b.Fatal("no route")
				}
			}
		})
		b.Run(fmt.Sprintf("routes=%d/impl=servemux", n), func(b *testing.B) {
			mux := http.NewServeMux()
			for _, p := range patterns {
				mux.Handle(p, http.NotFoundHandler())
			}
			theirs := make([]*http.Request, len(requests))
			for i, r := range requests {
				theirs[i] = httptest.NewRequest(r.Method, r.Path, nil)
				theirs[i].Host = r.Host
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, pattern := mux.Handler(theirs[i%len(theirs)]); pattern == "" {
					b.Fatal("no route")
				}
			}
		})
	}
}

// BenchmarkNewTable builds a table of 10,000 routes, and reports what it holds on the heap.
func BenchmarkNewTable(b *testing.B) {
	patterns, _ := services(10_000)
	entries := make([]Entry, len(patterns))
	for i, p := range patterns {
		entries[i] = Entry{Match: p}
	}
	for b.Loop() {
		before := heap()
		made, faults := NewTable(entries)
		if faults != nil {
			b.Fatal(faults)
		}
		b.ReportMetric(float64(heap()-before)/float64(len(entries)), "B/route")
		runtime.KeepAlive(made)
	}
}

// heap returns the bytes in use after a collection.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
