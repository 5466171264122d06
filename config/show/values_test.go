package show

import (
	"encoding/json"
	"strings"
	"testing"

	"pace/config"
)

func TestValues(t *testing.T) {
	f := parsed(t, `
[upstream.api]
backends = ["http://10.0.0.1", { url = "http://10.0.0.2:81", weight = 3 }]
[upstream.api.health]
path = "/healthz"
[upstreams]
backends = ["unix:/run/app.sock"]
[[route]]
match = "/api/"
upstream = "api"
request_headers = { set = { Authorization = "Basic c2VjcmV0", X-Team = "red" } }
[[route]]
name = "rest"
match = "/"
upstream = "default"
allow = ["10.0.0.0/8"]
`)
	got, err := json.Marshal(Values(&f.Config))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"listener":{"default":{"client_auth":"none","client_ca":"","listen":"0.0.0.0:8080"`, `"idle_timeout":"1m15s"`, `"slow":"1s"`,
		`"backends":[{"url":"http://10.0.0.1:80","weight":1},{"url":"http://10.0.0.2:81","weight":3}]`,
		`{"url":"unix:/run/app.sock","weight":1}`, `"Authorization":"***","X-Team":"red"`, `"allow":["10.0.0.0/8"]`, `"name":"rest"`,
		`"health":null`, `"path":"/healthz","port":0,"rise":2,"status":"200-399"`,
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
	if strings.Contains(string(got), "c2VjcmV0") {
		t.Errorf("a secret is in %s", got)
	}
}

// A secret that changes is a change, and is not told.
func TestChanges_MaskSecrets(t *testing.T) {
	with := func(secret string) *config.Config {
		return &parsed(t, "[upstreams]\nbackends = [\"http://10.0.0.1\"]\n[[route]]\nmatch = \"/\"\nupstream = \"default\"\nrequest_headers = { set = { X-Api-Key = \""+secret+"\" } }\n").Config
	}
	changes := Changes(with("first"), with("second"))
	if len(changes) != 1 || strings.Contains(changes[0].What, "first") || strings.Contains(changes[0].What, "second") {
		t.Errorf("got %v", changes)
	}
}
