package proxy

import (
	"flag"
	"os"
	"testing"
)

// TestMain runs many tests side by side, also on few cores: nearly all of them wait for a timer or a peer.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == flag.Lookup("test.parallel").DefValue {
		flag.Set("test.parallel", "4")
	}
	os.Exit(m.Run())
}
