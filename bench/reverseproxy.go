package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/quic-go/quic-go/http3"
	"github.com/valyala/fasthttp"
	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
)

// The peers below are what a Go developer writes by hand. Each is a separate process.

func serveReverseProxy(w wire, listen, backend string) error {
	return serve(w, listen, newReverseProxy(backend, newTransport(w)))
}

func newTransport(w wire) *http.Transport {
	t := &http.Transport{MaxIdleConnsPerHost: 512}
	if w.H2C {
		t.Protocols = new(http.Protocols)
		t.Protocols.SetUnencryptedHTTP2(true)
	}
	return t
}

func newReverseProxy(backend string, transport http.RoundTripper) *httputil.ReverseProxy {
	target := &url.URL{Scheme: "http", Host: backend}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
		Transport: transport,
	}
}

// serveOTel adds otelhttp on both sides, as its README shows: the real SDK, spans in batches to the sink,
// and metrics for Prometheus.
func serveOTel(w wire, listen, backend, sink, ratio string) error {
	share, err := strconv.ParseFloat(ratio, 64)
	if err != nil {
		return err
	}
	spans, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(sink+"/v1/traces"))
	if err != nil {
		return err
	}
	tracing := trace.NewTracerProvider(trace.WithBatcher(spans), trace.WithSampler(trace.ParentBased(trace.TraceIDRatioBased(share))))
	defer tracing.Shutdown(context.Background())
	reader, err := prometheus.New()
	if err != nil {
		return err
	}
	otel.SetTracerProvider(tracing)
	otel.SetMeterProvider(metric.NewMeterProvider(metric.WithReader(reader)))
	otel.SetTextMapPropagator(propagation.TraceContext{})

	transport := otelhttp.NewTransport(newTransport(w))
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.Handler())
	mux.Handle("/", otelhttp.NewHandler(newReverseProxy(backend, transport), "proxy"))
	return serve(w, listen, mux)
}

// serveFasthttp uses net/http's server and fasthttp's client. It shows what a synchronous client saves. It
// forwards GET only, so it is not a proxy to use.
func serveFasthttp(listen, backend string) error {
	client := &fasthttp.HostClient{Addr: backend, MaxConns: 512, StreamResponseBody: true, NoDefaultUserAgentHeader: true}
	return serve(wire{}, listen, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := forwardFasthttp(client, w, r); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	}))
}

// hopByHop are the fields that a proxy does not forward (RFC 9110 §7.6.1).
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade"}

func forwardFasthttp(client *fasthttp.HostClient, w http.ResponseWriter, r *http.Request) error {
	request, response := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(request)
	defer fasthttp.ReleaseResponse(response)
	request.Header.SetMethod(r.Method)
	request.SetRequestURI("http://" + client.Addr + r.URL.RequestURI())
	for name, values := range r.Header {
		for _, value := range values {
			request.Header.Add(name, value)
		}
	}
	for _, name := range hopByHop {
		request.Header.Del(name)
	}
	request.Header.Set("X-Forwarded-For", r.RemoteAddr)
	if err := client.Do(request, response); err != nil {
		return fmt.Errorf("exchange with %s: %w", client.Addr, err)
	}
	for _, name := range hopByHop {
		response.Header.Del(name)
	}
	for name, value := range response.Header.All() {
		w.Header().Add(string(name), string(value))
	}
	w.WriteHeader(response.StatusCode())
	if body := response.BodyStream(); body != nil {
		_, err := io.Copy(w, body)
		return err
	}
	_, err := w.Write(response.Body())
	return err
}

// serve runs handler until TERM, then lets the caller flush its telemetry. The certificate is in the working folder.
func serve(w wire, listen string, handler http.Handler) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	server := &http.Server{Addr: listen, Handler: handler}
	quic := &http3.Server{Addr: listen, Handler: handler}
	context.AfterFunc(ctx, func() { server.Close(); quic.Close() })
	faults := make(chan error, 2)
	go func() {
		if w.TLS {
			faults <- server.ListenAndServeTLS(certFile, keyFile)
		} else {
			faults <- server.ListenAndServe()
		}
	}()
	if w.H3 {
		go func() { faults <- quic.ListenAndServeTLS(certFile, keyFile) }()
	}
	if err := <-faults; ctx.Err() == nil {
		return err
	}
	return nil
}
