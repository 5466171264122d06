package route

import "testing"

func TestTake(t *testing.T) {
	table := NewTable()
	for _, tt := range []struct{ name, host, path string }{
		{"the root is taken", "shop.example", "/"},
		{"any path is taken", "shop.example", "/a/b"},
		{"a request for the server as a whole is taken", "shop.example", "*"},
		{"a request that names no host is taken", "", "/"},
	} {
		if got := table.Take(tt.host, tt.path); got == nil || got.Pattern != All {
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
	if n := testing.AllocsPerRun(100, func() { table.Take("a", "/") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
