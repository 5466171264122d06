package proxy

import (
	"net/http"
	"slices"
	"testing"

	"pace/proxy/action"
	"pace/proxy/upstream"
)

// A request that came under one plan ends under it, whatever has been swapped meanwhile.
func TestPlan_IsKeptToTheEnd(t *testing.T) {
	t.Parallel()
	came, swapped := make(chan bool), make(chan bool)
	first := origin(t, func(http.ResponseWriter, *http.Request) {
		came <- true
		<-swapped
	})
	second := origin(t, func(http.ResponseWriter, *http.Request) {})
	p := start(t, nil, first)
	h := p.handler
	old := h.plan.Load()
	go func() {
		<-came
		o := old.PlanOptions
		o.Routes = slices.Clone(o.Routes)
		o.Routes[0].Action = action.To(upstream.New(upstream.Options{Name: "default", Addresses: addresses(second)}, nil))
		o.BackendName = "X-Served-By"
		h.Swap(o)
		p.upstream.Close()
		close(swapped)
	}()
	r, _ := get(t, p.URL)
	if r.Header.Get("X-Backend") == "" || r.Header.Get("X-Served-By") != "" {
		t.Errorf("the first request: got %v", r.Header)
	}
	r, _ = get(t, p.URL)
	if r.Header.Get("X-Backend") != "" || r.Header.Get("X-Served-By") == "" {
		t.Errorf("the second request: got %v", r.Header)
	}
}
