package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pace/cmd/pace/vet"
	"pace/config"
)

// running is a running pace, which a command asks through its admin listener.
type running struct {
	address string // host:port, or unix:/path
	http    http.Client
}

// takeAdmin lets a command name the admin listener to ask.
func takeAdmin(c *cobra.Command) {
	c.Flags().String("admin", "", "admin listener of the pace to ask, `ADDR` is host:port or unix:/path (default: admin.listen of $PACE_CONFIG, else 127.0.0.1:9464)")
}

// runningOf returns the pace that a command asks.
func runningOf(c *cobra.Command) (*running, error) {
	address := c.Flags().Lookup("admin").Value.String()
	if address == "" {
		if address = config.Default().Admin.Listen; configOf(c) != "" {
			f, err := vet.Load(configOf(c))
			if err != nil {
				return nil, err
			}
			if address = f.Admin.Listen; address == "" {
				return nil, usageError(c, errors.New(configOf(c)+" switches the admin listener off; name another one with --admin"))
			}
		}
	}
	r := &running{address: address}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		if path, unix := strings.CutPrefix(address, "unix:"); unix {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}
		return new(net.Dialer).DialContext(ctx, "tcp", address)
	}
	if !strings.HasPrefix(address, "unix:") {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, usageError(c, fmt.Errorf("%q is no address; write host:port or unix:/path", address))
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() { // as admin.listen may be written
			r.address = net.JoinHostPort("127.0.0.1", port)
			address = r.address
		}
	}
	r.http.Transport = &http.Transport{DialContext: dial}
	return r, nil
}

// configOf returns the configuration of the pace that a command asks; "": none is named.
func configOf(c *cobra.Command) string {
	if f := c.Flags().Lookup("config"); f != nil && f.Changed {
		return f.Value.String()
	}
	return os.Getenv("PACE_CONFIG")
}

// get makes a call of the API that only looks.
func (r *running) get(ctx context.Context, path string) (*http.Response, error) {
	return r.call(ctx, http.MethodGet, path, "")
}

// call makes a call of the API, with a token if it is not "". A response that is not 200 is an error, in the words of
// the response.
func (r *running) call(ctx context.Context, method, path, token string) (*http.Response, error) {
	host := r.address
	if strings.HasPrefix(host, "unix:") {
		host = "localhost"
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+host+"/api/v1/"+path, nil)
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, runFailure{fmt.Errorf("no pace responds on %s: %w; start one, or name its admin listener with --admin", r.address, reason(err))}
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusUnauthorized {
		return nil, runFailure{fmt.Errorf("%s: the token is missing or wrong; name the file that has it with --token-file", r.address)}
	}
	var said struct {
		Error string `json:"error"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, maxRecord)).Decode(&said) != nil || said.Error == "" {
		said.Error = "it is no pace with this API: " + resp.Status
	}
	return nil, runFailure{fmt.Errorf("%s: %s", r.address, said.Error)}
}

// reason returns the error of a request without its method and URL.
func reason(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// maxRecord limits how many bytes of a response are read. A record has texts from clients; pace limits each.
const maxRecord = 4 << 20
