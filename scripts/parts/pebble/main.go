// Command pebble is Pebble, the ACME server for tests of Let's Encrypt, together with a name server that says of
// every name that it is this machine.
package main

import (
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"os"

	"github.com/letsencrypt/challtestsrv"
	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
)

// config is what a test may set, under the names that Pebble's own configuration has.
type config struct {
	ListenAddress           string
	ManagementListenAddress string
	Certificate, PrivateKey string // of the two listeners
	HTTPPort, TLSPort       int    // at which names are validated
	DomainBlocklist         []string
	Profiles                map[string]ca.Profile

	DNSAddress string // of the name server
}

func main() {
	file := flag.String("config", "", "the configuration, as JSON")
	flag.Parse()
	var c config
	raw, err := os.ReadFile(*file)
	if err == nil {
		err = json.Unmarshal(raw, &c)
	}
	if err != nil {
		log.Fatal(err)
	}
	logger := log.New(os.Stdout, "Pebble ", log.LstdFlags|log.Lmicroseconds)
	os.Setenv("PEBBLE_VA_NOSLEEP", "1") // otherwise it waits for some seconds before it validates a name
	names, err := challtestsrv.New(challtestsrv.Config{DNSAddrs: []string{c.DNSAddress}, Log: logger})
	if err != nil {
		log.Fatal(err)
	}
	names.SetDefaultDNSIPv4("127.0.0.1")
	names.SetDefaultDNSIPv6("")
	go names.Run()

	store := db.NewMemoryStore()
	for _, name := range c.DomainBlocklist {
		if err := store.AddBlockedDomain(name); err != nil {
			log.Fatal(err)
		}
	}
	issuer := ca.New(logger, store, "", "ecdsa", 0, 1, c.Profiles)
	validator := va.New(logger, c.HTTPPort, c.TLSPort, true, c.DNSAddress, store)
	front := wfe.New(logger, store, validator, issuer, []string{"pebble.test"}, true, false, 1, 1)
	go func() {
		log.Fatal(http.ListenAndServeTLS(c.ManagementListenAddress, c.Certificate, c.PrivateKey, front.ManagementHandler()))
	}()
	log.Fatal(http.ListenAndServeTLS(c.ListenAddress, c.Certificate, c.PrivateKey, front.Handler()))
}
