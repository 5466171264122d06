package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/quic-go/quic-go/http3"
)

// loadHTTP3 sends so many requests over HTTP/3, on as many connections and streams as [loadStreams]. The client is
// quic-go's: it needs much CPU, but that is not the proxy's.
func loadHTTP3(to target, requests int) (load, error) {
	var conns [streamConns]*http3.Transport
	for i := range conns {
		conns[i] = &http3.Transport{TLSClientConfig: to.tls, DisableCompression: true}
		defer conns[i].Close()
	}
	return loadBy(streamConns*streamsEach, requests, func(worker int) error {
		return getOver(conns[worker%streamConns], "https://"+to.addr+"/small", smallSize)
	})
}

// getOver sends the same request as wrk, and demands status 200 and a whole body of size bytes.
func getOver(conn http.RoundTripper, url string, size int64) error {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header = http.Header{"User-Agent": {"bench/1"}, "Accept": {"application/json"}}
	response, err := conn.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	n, err := io.Copy(io.Discard, response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode != http.StatusOK || n != size:
		return fmt.Errorf("GET %s: status %d with %d bytes, want 200 with %d", url, response.StatusCode, n, size)
	}
	return nil
}
