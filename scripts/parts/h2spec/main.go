// Command h2spec runs the conformance tests of the module h2spec against a server, and writes a report in JUnit's
// format. The module's own command also wants a library for flags, which is this command's only difference.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
)

func main() {
	c := &config.Config{MaxHeaderLen: 4000}
	flag.StringVar(&c.Host, "host", "127.0.0.1", "host of the server")
	flag.IntVar(&c.Port, "port", 0, "port of the server")
	flag.StringVar(&c.Path, "path", "/", "path that the tests ask for")
	flag.DurationVar(&c.Timeout, "timeout", 2*time.Second, "how long a test waits")
	flag.StringVar(&c.JUnitReport, "report", "", "file for the report")
	flag.BoolVar(&c.Strict, "strict", false, "run the strict tests, too")
	flag.BoolVar(&c.TLS, "tls", false, "connect over TLS")
	flag.BoolVar(&c.Insecure, "insecure", false, "trust every certificate")
	flag.Parse()
	c.Sections = flag.Args()
	passed, err := h2spec.Run(c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "h2spec:", err)
		os.Exit(2)
	}
	if !passed {
		os.Exit(1)
	}
}
