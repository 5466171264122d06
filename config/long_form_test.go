package config

import (
	"reflect"
	"testing"
	"time"
)

// The short form means the same as the long form with everything named default.
func TestInLongForm_OfTheShortForm(t *testing.T) {
	f, err := Parse("x.toml", []byte(`
		upstreams.backends = ["http://a", "http://b:81"]
		server.listen = "127.0.0.1:1"
		[rate_limit]
	`))
	if err != nil {
		t.Fatal(err)
	}
	everything := defaultRoute()
	everything.Limits = []string{"default"}
	want := LongForm{
		Listeners: []Listener{{Name: "default", Key: "server", Listen: "127.0.0.1:1", MinVersion: "1.2", ClientAuth: "none"}},
		Routes:    []Route{everything},
		Upstreams: []Upstream{{"default", "upstreams", Upstreams{
			Backends: []Backend{{"http", "a:80", 1}, {"http", "b:81", 1}}, MaxRetries: 1,
			ConnectTimeout: time.Second, ResponseTimeout: 30 * time.Second, MaxResponseHeaderBytes: 65536,
			MaxIdlePerBackend: 512, IdleTimeout: time.Minute, DrainStreams: 5 * time.Minute, Resolve: 30 * time.Second, Policy: "round_robin", HashBy: "client_ip",
			TLS:      TLS{Verify: true},
			Retry:    Retry{On: []string{"connect_failed", "connect_timeout", "upstream_reset"}, Budget: 0.2},
			Ejection: Default().Upstreams.Ejection,
		}}},
		Limits: []Limit{{"default", "rate_limit", RateLimit{true, 10, 60, "client_ip", 1_000_000}}},
	}
	if got := f.InLongForm(); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// A limit that is not enabled is as if it were not written.
func TestInLongForm_WithoutALimitThatIsOff(t *testing.T) {
	f, err := Parse("x.toml", []byte("upstreams.backends = [\"http://a\"]\nrate_limit.enabled = false\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := f.InLongForm(); len(got.Limits) != 0 || len(got.Routes[0].Limits) != 0 {
		t.Errorf("got %+v", got)
	}
}
