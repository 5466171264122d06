package main

import (
	"bytes"
	"fmt"
	"html"
	"strings"
)

// plot draws the cost of each peer as a bar. Its background makes it readable on dark pages.
func (b *bench) plot(s scenario) []byte {
	const left, width, row = 180, 460, 26
	var bars bytes.Buffer
	largest, y := 0.0, 48
	for _, samples := range b.results[s.name] {
		largest = max(largest, median(samples, cost))
	}
	for _, c := range b.contenders {
		value := median(b.results[s.name][c.name], cost)
		if value == 0 {
			continue
		}
		fill := "#8a94a6"
		if strings.HasPrefix(c.name, "pace") {
			fill = "#0f766e"
		}
		length := value / largest * width
		fmt.Fprintf(&bars, `<text x="%d" y="%d" text-anchor="end">%s</text>`+
			`<rect x="%d" y="%d" width="%.1f" height="18" rx="2" fill="%s"/><text x="%.1f" y="%d">%s</text>`+"\n",
			left-8, y+14, html.EscapeString(c.name), left, y, length, fill, left+length+6, y+14, fmt.Sprintf(s.columns[0].verb, value))
		y += row
	}
	title := html.EscapeString(s.title)
	return fmt.Appendf(nil, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s" font-family="sans-serif" font-size="13" fill="#1f2937">
<rect width="100%%" height="100%%" fill="#ffffff"/>
<text x="12" y="20" font-weight="bold">%s</text><text x="12" y="37" font-size="11">%s of the proxy, median; less is better</text>
%s</svg>
`, left+width+70, y+10, left+width+70, y+10, title, title, html.EscapeString(s.unit), bars.Bytes())
}
