// Command testbackend is a backend of test_proxy.sh. It is a process of its own, so that the script can kill
// it. It prints its address, and responds to every request with JSON that describes the request.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: testbackend NAME")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Addr())
	log.Fatal(http.Serve(l, echo(os.Args[1], l.Addr().(*net.TCPAddr).Port)))
}

func echo(name string, port int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{
			"backend": name, "port": port, "method": r.Method, "path": r.URL.Path,
			"headers": r.Header, "body": string(body),
		})
	})
}
