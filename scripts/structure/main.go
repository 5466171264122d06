// Command structure shows how pace is built: it counts what a reader has to live with, and draws
// the packages and their imports.
//
//	go run ./scripts/structure                 counts, as Markdown tables
//	go run ./scripts/structure -walk           the functions that a pooled GET passes, too
//	go run ./scripts/structure -draw FILE      the picture of the packages, as SVG
//	go run ./scripts/structure -dir CHECKOUT   the same of another checkout
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("structure: ")
	dir := flag.String("dir", ".", "checkout to look at")
	draw := flag.String("draw", "", "write the picture of the packages to this file, and count nothing")
	walk := flag.Bool("walk", false, "run the binary, and list the functions that a pooled GET passes")
	flag.Parse()

	packages, err := list(*dir)
	if err != nil {
		log.Fatal(err)
	}
	if *draw != "" {
		if err := os.WriteFile(*draw, picture(packages), 0o644); err != nil {
			log.Fatal(err)
		}
		return
	}
	report, err := count(packages)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(report)
	if !*walk {
		return
	}
	passed, err := passedByGET(*dir)
	if err != nil {
		log.Fatal(err)
	}
	files := map[string]bool{}
	for _, f := range passed {
		files[f.file] = true
	}
	fmt.Printf("\nA pooled GET passes %d functions in %d files:\n\n", len(passed), len(files))
	for _, f := range passed {
		fmt.Printf("- %s %s\n", f.file, f.name)
	}
}
