package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"pace/cmd/pace/vet"
	"pace/telemetry"
)

// orderCommands returns the commands by which operators take a backend of a running pace out and let it in again.
func orderCommands() (list []*cobra.Command) {
	for _, o := range []struct{ verb, short, long string }{
		{"drain", "Take a backend of a running pace out for maintenance", "It gets no more requests. Those in flight finish, and streams get the upstream's drain_streams. It stays drained,\n" +
			"also over a reload, until pace undrain or a restart of pace."},
		{"undrain", "Let a backend in again that was drained", "It gets requests again, unless its checks or its requests speak against it."},
		{"eject", "Take a backend of a running pace out because it is faulty", "It gets no more requests, but if no other backend may be picked. It stays ejected until pace readmit or a restart of\npace."},
		{"readmit", "Let a backend in again that was ejected", "It ends an ejection, whether an operator or failed requests caused it."},
	} {
		c := &cobra.Command{
			Use:   o.verb + " UPSTREAM HOST:PORT",
			Short: o.short,
			Long: o.long + "\n\nUPSTREAM is a name, default in the short form. HOST:PORT is the backend's address as GET /api/v1/upstreams has it,\n" +
				"or the path of its unix socket.",
			Args: func(_ *cobra.Command, args []string) error {
				if len(args) != 2 {
					return fmt.Errorf("expected UPSTREAM and HOST:PORT, got %d arguments", len(args))
				}
				return nil
			},
			RunE: func(c *cobra.Command, args []string) error {
				r, err := runningOf(c)
				if err != nil {
					return err
				}
				token, err := r.tokenOf(c)
				if err != nil {
					return err
				}
				return r.order(c, o.verb, args[0], args[1], token)
			},
		}
		takeAdmin(c)
		c.Flags().Lookup("admin").Usage = "admin listener of the pace to ask, `ADDR` is host:port or unix:/path (default: admin.listen of the configuration, else 127.0.0.1:9464)"
		c.Flags().String("token-file", "", "`FILE` with the token of the admin listener (default: admin.token_file of the configuration)")
		c.Flags().String("config", "", "configuration `FILE` of the pace to ask (default: $PACE_CONFIG)")
		c.MarkFlagFilename("config", "toml")
		list = append(list, c)
	}
	return list
}

// maxToken limits how many bytes of a token's file are read.
const maxToken = 4096

// tokenOf returns the token for calls that change something; "": none is named, as for a unix socket, which needs none.
func (r *running) tokenOf(c *cobra.Command) (string, error) {
	file := c.Flags().Lookup("token-file").Value.String()
	if file == "" && configOf(c) != "" && !strings.HasPrefix(r.address, "unix:") {
		f, err := vet.Load(configOf(c))
		if err != nil {
			return "", err
		}
		file = f.Admin.TokenFile
	}
	if file == "" {
		return "", nil
	}
	f, err := os.Open(file)
	if err != nil {
		return "", runFailure{fmt.Errorf("the token cannot be read: %w; name a file that you may read with --token-file", err)}
	}
	defer f.Close()
	token, err := io.ReadAll(io.LimitReader(f, maxToken))
	token = bytes.TrimSpace(token)
	if err != nil || len(token) == 0 || bytes.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return "", runFailure{fmt.Errorf("%s holds no token", file)}
	}
	return string(token), nil
}

// order carries out an order about a backend, and says how that is then.
func (r *running) order(c *cobra.Command, verb, upstream, address, token string) error {
	if _, bare, has := strings.Cut(address, "://"); has { // as it stands in the configuration
		address = bare
	}
	address = strings.TrimPrefix(address, "unix:")
	path := "upstreams/" + url.PathEscape(upstream) + "/backends/" + url.PathEscape(address) + "/" + verb
	resp, err := r.call(c.Context(), http.MethodPost, path, token)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var b struct {
		Address, State, Reason string
		Active, Connections    int
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxRecord)).Decode(&b); err != nil {
		return runFailure{fmt.Errorf("%s: the response is no backend: %w", r.address, err)}
	}
	said := fmt.Sprintf("%s of %s is %s", b.Address, upstream, b.State)
	if b.Reason != "" {
		said += " (" + b.Reason + ")"
	}
	said += fmt.Sprintf(": %s in flight, %s open", number(b.Active, "request"), number(b.Connections, "connection"))
	_, err = fmt.Fprintln(c.OutOrStdout(), telemetry.Printable(said))
	return err
}

// number says how many things there are.
func number(n int, thing string) string {
	switch n {
	case 0:
		return "no " + thing + "s"
	case 1:
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
