package main

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"pace/telemetry"
)

// grpc makes docs/grpc.md: the text is written by hand, and the tables of codes are made from telemetry's.
func grpc(root fs.FS) (string, error) {
	raw, err := fs.ReadFile(root, "docs/grpc.md")
	if err != nil {
		return "", err
	}
	text := string(raw)
	for name, block := range map[string]func(*page){"codes": codes, "own codes": ownCodes} {
		var p page
		block(&p)
		if text, err = replaceBlock(text, name, strings.TrimSuffix(string(p), "\n")); err != nil {
			return "", fmt.Errorf("docs/grpc.md: %w", err)
		}
	}
	return text, nil
}

func codes(p *page) {
	var rows [][]string
	for _, c := range telemetry.GRPCCodes() {
		o := c.Info().Outcome.Info()
		rows = append(rows, []string{strconv.Itoa(c.Number()), c.String(), "`" + o.Word + "`", string(o.Side)})
	}
	p.table("grpc-status|name|outcome|side", rows)
}

// ownCodes lists the outcomes with which pace responds itself, by their code.
func ownCodes(p *page) {
	words := map[telemetry.GRPCCode][]string{}
	for o := telemetry.OK; o < telemetry.OutcomeCount; o++ {
		if info := o.Info(); info.Sentence != "" && o != telemetry.Responded && o != telemetry.Redirected {
			words[o.GRPC()] = append(words[o.GRPC()], "`"+info.Word+"`")
		}
	}
	words[telemetry.UpstreamTruncated.GRPC()] = append(words[telemetry.UpstreamTruncated.GRPC()], "`upstream_truncated`")
	var rows [][]string
	for _, c := range telemetry.GRPCCodes() {
		if list := words[c]; len(list) > 0 {
			rows = append(rows, []string{strconv.Itoa(c.Number()), c.String(), strings.Join(list, ", ")})
		}
	}
	p.table("grpc-status|name|outcomes", rows)
}
