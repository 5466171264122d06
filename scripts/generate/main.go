// Command generate writes the pages that are generated from pace's own tables, so that pages and tables cannot
// disagree. The tests of this package only compare. It must not know how pace works inside.
package main

import (
	"io/fs"
	"log"
	"os"
	"path/filepath"
)

//go:generate go run . ../..
//go:generate go run pace/scripts/structure -draw ../../docs/picture/packages.svg

// pages are the files that are written, and what makes the text of each from the checkout.
var pages = []struct {
	file string
	text func(root fs.FS) (string, error)
}{
	{"docs/configuration.md", configuration}, // from the struct tags of config
	{"docs/interface.md", promised},          // its marked blocks, from the tables of telemetry
	{"docs/signals.md", signals},             // from the tables of telemetry
	{"docs/grpc.md", grpc},                   // its marked blocks, from the same
	{promisesFile, promises},                 // the same, and what they had before
	{"README.md", figures},                   // from the results of the bench
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("generate: ")
	if len(os.Args) != 2 {
		log.Fatal("usage: generate CHECKOUT")
	}
	root := os.Args[1]
	for _, p := range pages {
		text, err := p.text(os.DirFS(root))
		if err != nil {
			log.Fatalf("%s: %v", p.file, err)
		}
		if err := os.WriteFile(filepath.Join(root, p.file), []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
	}
}
