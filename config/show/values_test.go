package show

import (
	"encoding/json"
	"fmt"
	"slices"
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
	got, err := json.Marshal(Values(f))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"listener":{"default":{"client_auth":"none","client_ca":"","http3":false,"listen":"0.0.0.0:8080"`, `"idle_timeout":"1m15s"`, `"slow":"1s"`,
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
	with := func(secret string) *config.File {
		return parsed(t, "[upstreams]\nbackends = [\"http://10.0.0.1\"]\n[[route]]\nmatch = \"/\"\nupstream = \"default\"\nrequest_headers = { set = { X-Api-Key = \""+secret+"\" } }\n")
	}
	changes := Changes(with("first"), with("second"))
	if len(changes) != 1 || strings.Contains(changes[0].What, "first") || strings.Contains(changes[0].What, "second") {
		t.Errorf("got %v", changes)
	}
}

// referring is a configuration in which everything that can is a reference to one of four variables.
const referring = `
[server]
listen = "${env:PACE_TEST_LISTEN}"
idle_timeout = "${env:PACE_TEST_IDLE}"
[upstream.api]
backends = ["http://${env:PACE_TEST_HOST}", { url = "http://${env:PACE_TEST_HOST}:81", weight = 2 }]
health = { path = "/${env:PACE_TEST_TEXT}" }
[tracing]
endpoint = "http://${env:PACE_TEST_HOST}:4318"
query_allow = ["${env:PACE_TEST_TEXT}"]
[[certificate]]
cert = "/${env:PACE_TEST_TEXT}.crt"
key = "/${env:PACE_TEST_TEXT}.key"
[[route]]
match = "/"
upstream = "api"
when = { X-Origin = "${env:PACE_TEST_TEXT}" }
request_headers = { add = { X-Team = "Bearer ${env:PACE_TEST_TEXT}" } }
[[route]]
match = "/${env:PACE_TEST_TEXT}"
redirect = "https://${env:PACE_TEST_HOST}/"
[[route]]
name = "text ${env:PACE_TEST_TEXT}"
match = "/text"
respond = 200
body = "${env:PACE_TEST_TEXT}"
`

// with parses what refers to variables, while they have these values.
func with(t *testing.T, listen, idle, host, text string) *config.File {
	t.Helper()
	for name, value := range map[string]string{"LISTEN": listen, "IDLE": idle, "HOST": host, "TEXT": text} {
		t.Setenv("PACE_TEST_"+name, value)
	}
	return parsed(t, referring)
}

func TestValues_MaskReferences(t *testing.T) {
	got, err := json.Marshal(Values(with(t, "0.0.0.0:4711", "47m11s", "hunter2.example", "hunter2")))
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter2", "4711", "47m11s"} {
		if strings.Contains(string(got), secret) {
			t.Errorf("%s is in %s", secret, got)
		}
	}
	for _, want := range []string{
		`"listen":"***"`, `"idle_timeout":"***"`, `"backends":["***",{"url":"***","weight":2}]`, `"path":"***"`, `"endpoint":"***"`,
		`"query_allow":["***"]`, `"X-Origin":"***"`, `"X-Team":"***"`, `"redirect":"***"`, `"body":"***"`, `"match":"***"`, `"name":"***","redirect":""`,
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
}

func TestChanges_MaskReferences(t *testing.T) {
	before := with(t, "0.0.0.0:4711", "47m11s", "hunter2.example", "hunter2")
	after := with(t, "0.0.0.0:4712", "47m12s", "hunter3.example", "hunter3")
	var got []string
	for _, c := range Changes(before, after) {
		got = append(got, c.String())
	}
	all := strings.Join(got, "\n")
	for _, secret := range []string{"hunter", "471", "47m1"} {
		if strings.Contains(all, secret) {
			t.Errorf("%s is in %s", secret, all)
		}
	}
	for _, want := range []string{
		"server.listen: its content changed", "server.idle_timeout: its content changed",
		"upstream.api.backends: added ***, added ***, removed ***, removed ***", "upstream.api.health.path: its content changed",
		"tracing.query_allow: added ***, removed ***", "route \"/\".when: added X-Origin = ***, removed X-Origin = ***",
		"route \"/\".request_headers.add: added X-Team = ***, removed X-Team = ***",
		"route \"***\": added", "route \"***\": removed",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
	if got := Changes(before, parsed(t, strings.NewReplacer("${env:PACE_TEST_LISTEN}", "0.0.0.0:4713", "${env:PACE_TEST_IDLE}", "47m11s").Replace(referring))); !strings.Contains(fmt.Sprint(got), `server.listen: *** became "0.0.0.0:4713"`) {
		t.Errorf("got %v", got)
	}
}
