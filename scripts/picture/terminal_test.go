package main

import (
	"encoding/xml"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestRows(t *testing.T) {
	long := strings.Repeat("é", columns)
	tests := map[string]struct {
		text string
		want [][]segment
	}{
		"plain text is one segment a row":   {"a\r\nb", [][]segment{{{"a", style{}}}, {{"b", style{}}}}},
		"colour lasts until it is reset":    {"\x1b[91mERR\x1b[0m x", [][]segment{{{"ERR", style{colour: 91}}, {" x", style{}}}}},
		"and beyond the row's end":          {"\x1b[2ma\nb", [][]segment{{{"a", style{faint: true}}}, {{"b", style{faint: true}}}}},
		"a full row goes on in the next":    {long + "x", [][]segment{{{long, style{}}}, {{"x", style{}}}}},
		"an exactly full row does not":      {long, [][]segment{{{long, style{}}}}},
		"several parameters are all obeyed": {"\x1b[2;92mb", [][]segment{{{"b", style{92, true}}}}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := rows(tt.text); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%q: got %+v, want %+v", tt.text, got, tt.want)
			}
		})
	}
}

func TestDraw_IsXMLWhateverIsShown(t *testing.T) {
	d := xml.NewDecoder(strings.NewReader(string(draw(&window{"a & b", "\x1b[31m<script> \"&amp;\"\x1b[0m"}))))
	var shown strings.Builder
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := token.(xml.CharData); ok {
			shown.Write(c)
		}
	}
	if want := `<script> "&amp;"`; !strings.Contains(shown.String(), want) {
		t.Errorf("got %q, want %q in it", shown.String(), want)
	}
}

func TestDrawWaterfall_WantsARequestWithTwoAttempts(t *testing.T) {
	one := `{"result":{"resourceSpans":[{"scopeSpans":[{"spans":[{"kind":2,"startTimeUnixNano":"1","endTimeUnixNano":"9"}]}]}]}}`
	if _, err := drawWaterfall([]byte(one)); err == nil {
		t.Error("a trace of one span was drawn")
	}
}
