package contract

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"

	"pace/e2e/pacetest"
)

// randomRequests sends n requests over both protocols, in which all that a client may choose is
// random: host, method, path, query, user agent, forwarding headers. The seed is fixed.
func randomRequests(t *testing.T, p *pacetest.Pace, n int, seed uint64) {
	t.Helper()
	const workers = 8
	var group sync.WaitGroup
	for w := range uint64(workers) {
		mode := []pacetest.Mode{pacetest.H1, pacetest.H2C}[w%2]
		c := mode.Client(t)
		group.Go(func() {
			r := rand.New(rand.NewPCG(seed, w))
			for range n / workers {
				req := randomRequest(p, r)
				if got := pacetest.Do(c, req); got.Status != 200 || got.Err != nil {
					t.Errorf("%s %s: status %d, %v", req.Method, req.URL, got.Status, got.Err)
					return
				}
			}
		})
	}
	group.Wait()
}

func randomRequest(p *pacetest.Pace, r *rand.Rand) *http.Request {
	word := func() string { return fmt.Sprintf("clientword%x", r.Uint64()) }
	method := word()
	if r.IntN(2) == 0 {
		method = knownMethods[r.IntN(len(knownMethods))]
	}
	address := fmt.Sprintf("10.%d.%d.%d", r.IntN(256), r.IntN(256), r.IntN(256))
	return p.Request(method, "/"+word()+"?"+word()+"="+word(), "",
		"Host", fmt.Sprintf("%s.example:%d", word(), 1+r.IntN(65535)), "User-Agent", word(), "Cookie", word(), word(), word(),
		"X-Forwarded-For", address, "X-Forwarded-Host", word()+".example", "X-Forwarded-Proto", []string{"http", "https", word()}[r.IntN(3)],
		"X-Request-Id", word(), "Forwarded", "for="+address+";host="+word())
}
