package main

import (
	"slices"
	"strings"
)

// page is Markdown in the making.
type page string

func (p *page) text(s string) { *p += page(s + "\n") }

func (p *page) table(head string, rows [][]string) {
	columns := strings.Split(head, "|")
	p.row(columns)
	p.row(slices.Repeat([]string{"---"}, len(columns)))
	for _, cells := range rows {
		p.row(cells)
	}
	p.text("")
}

func (p *page) row(cells []string) { p.text("| " + strings.Join(cells, " | ") + " |") }
