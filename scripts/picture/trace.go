package main

import (
	"fmt"
	"os/exec"
	"strings"
)

// jaegerURL is the address of Jaeger's query API in docs/deployment/jaeger.yaml.
const jaegerURL = "http://127.0.0.1:16686"

// jaeger is a running Jaeger.
type jaeger struct{ *exec.Cmd }

func startJaeger() (*jaeger, error) {
	path, err := exec.Command("bash", "scripts/parts.sh", "jaeger").Output()
	if err != nil {
		return nil, fmt.Errorf("parts.sh jaeger: %w", err)
	}
	j := &jaeger{exec.Command(strings.TrimSpace(string(path)), "--config", "docs/deployment/jaeger.yaml")}
	if err := j.Start(); err != nil {
		return nil, err
	}
	if _, err := get(jaegerURL + "/api/v3/services"); err != nil {
		j.kill()
		return nil, err
	}
	return j, nil
}

// kill ends it: it would take its time, and holds nothing that is to be kept.
func (j *jaeger) kill() {
	j.Process.Kill()
	j.Wait()
}
