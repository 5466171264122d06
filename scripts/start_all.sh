#!/usr/bin/env bash
# start_all.sh starts the proxy on 8080 and two sample backends on 8000 and 8001, until Ctrl-C.
# It takes the flags of `pace demo`, such as --no-limit.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
# Not `go run`: it does not forward TERM, so the proxy would keep running.
go build -buildvcs=false -o bin/pace ./cmd/pace
exec bin/pace demo "$@"
