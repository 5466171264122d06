package main

import (
	"cmp"
	"fmt"
	"html"
	"slices"
	"strings"
)

// The picture's measures, in pixels.
const (
	boxWidth, boxHeight = 168, 30
	gapX, gapY          = 14, 44
	margin              = 12
	pictureWidth        = 6*(boxWidth+gapX) + 2*margin
)

// box is a package with its place in the picture.
type box struct {
	pkg
	rank int // rows below cmd/pace; imports go down only
	x, y int
}

// picture draws the packages in rows: each stands below all that import it. An arrow that a longer
// way already tells is left out, or cmd/pace would have one to every package.
func picture(packages []pkg) []byte {
	boxes := place(packages)
	var b strings.Builder
	height := 0
	for _, x := range boxes {
		height = max(height, x.y+boxHeight+margin)
	}
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" font-family="ui-monospace, Menlo, Consolas, monospace" font-size="13">`+"\n", pictureWidth, height)
	b.WriteString("<title>The packages of pace and what they import</title>\n" +
		`<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#8a8f98"/></marker></defs>` + "\n" +
		`<rect width="100%" height="100%" fill="#fff"/>` + "\n")
	for _, from := range sortedBoxes(boxes) {
		for _, path := range direct(from.ImportPath, boxes) {
			to := boxes[path]
			fmt.Fprintf(&b, `<path d="M%d %d L%d %d" fill="none" stroke="#8a8f98" marker-end="url(#head)"/>`+"\n",
				from.x+boxWidth/2, from.y+boxHeight, to.x+boxWidth/2, to.y)
		}
	}
	for _, x := range sortedBoxes(boxes) {
		fmt.Fprintf(&b, `<g><title>%s</title><rect x="%d" y="%d" width="%d" height="%d" rx="4" fill="%s" stroke="#3b4252"/><text x="%d" y="%d" text-anchor="middle">%s</text></g>`+"\n",
			html.EscapeString(x.Doc), x.x, x.y, boxWidth, boxHeight, colour(x.ImportPath), x.x+boxWidth/2, x.y+20, short(x.ImportPath))
	}
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// colour returns the colour of a package's family.
func colour(path string) string {
	family, _, _ := strings.Cut(short(path), "/")
	switch family {
	case "proxy":
		return "#e3eefb"
	case "telemetry", "dashboards":
		return "#e8f5e4"
	case "config":
		return "#fdf3d8"
	case "cmd":
		return "#f3e3f5"
	}
	return "#f2f2f2"
}

func place(packages []pkg) map[string]*box {
	boxes := map[string]*box{}
	for _, p := range packages {
		boxes[p.ImportPath] = &box{pkg: p}
	}
	for range boxes { // as often as the longest way may have steps
		for _, b := range boxes {
			for _, path := range b.Imports {
				boxes[path].rank = max(boxes[path].rank, b.rank+1)
			}
		}
	}
	var rows [][]*box
	for _, b := range sortedBoxes(boxes) {
		for len(rows) <= b.rank {
			rows = append(rows, nil)
		}
		rows[b.rank] = append(rows[b.rank], b)
	}
	for i, row := range rows {
		centre := map[*box]float64{}
		for _, b := range row {
			centre[b] = b.importersCentre(boxes)
		}
		slices.SortStableFunc(row, func(a, b *box) int { return cmp.Compare(centre[a], centre[b]) })
		width := len(row)*(boxWidth+gapX) - gapX
		for n, b := range row {
			b.x, b.y = (pictureWidth-width)/2+n*(boxWidth+gapX), margin+i*(boxHeight+gapY)
		}
	}
	return boxes
}

// importersCentre returns the mean position of the packages that import b. To put b near it keeps arrows short.
func (b *box) importersCentre(boxes map[string]*box) float64 {
	sum, n := 0, 0
	for _, from := range boxes {
		if slices.Contains(direct(from.ImportPath, boxes), b.ImportPath) {
			sum, n = sum+from.x, n+1
		}
	}
	if n == 0 {
		return 0
	}
	return float64(sum) / float64(n)
}

func sortedBoxes(boxes map[string]*box) (list []*box) {
	for _, b := range boxes {
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b *box) int { return strings.Compare(a.ImportPath, b.ImportPath) })
	return list
}

// direct returns the imports of a package that no other import of it leads to.
func direct(path string, boxes map[string]*box) (list []string) {
	for _, to := range boxes[path].Imports {
		longer := slices.ContainsFunc(boxes[path].Imports, func(via string) bool { return via != to && leads(via, to, boxes) })
		if !longer {
			list = append(list, to)
		}
	}
	return list
}

func leads(from, to string, boxes map[string]*box) bool {
	return from == to || slices.ContainsFunc(boxes[from].Imports, func(via string) bool { return leads(via, to, boxes) })
}
