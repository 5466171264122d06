#!/usr/bin/env bash
# test_proxy.sh runs seven checks of a running proxy. It prints one line for each check, and exits with 1 if
# one failed. Each check starts its own proxy and two backends on free ports, so that no check sees the
# requests of another one. It needs bash, curl and Go.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin

tmp=$(mktemp -d) pids=() failed=0
trap 'stop_all; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

# --- the checks: each reports what it saw with `saw`, and returns 1 if that is wrong ---

basic_request() {
	ask /test
	saw "status $status, $body"
	[[ $status == 200 && $body == *'"path":"/test"'* && $body == *'"backend":"'* && $body == *'"port":'* ]]
}

rotation() {
	local ports='' i
	for i in 1 2 3 4 5 6; do
		ask /
		ports+="${body_port:-none} "
	done
	saw "responses from $ports"
	[[ $ports == "$port1 $port2 $port1 $port2 $port1 $port2 " || $ports == "$port2 $port1 $port2 $port1 $port2 $port1 " ]]
}

x_backend() {
	ask /
	saw "X-Backend $(header X-Backend) from port $body_port"
	[[ -n $body_port && $(header X-Backend) == "backend_127.0.0.1_$body_port" ]]
}

metrics() {
	ask /
	sleep 0.1 # by then it is in the metrics
	local before=$status count='http_requests_duration_seconds_count{method="GET",status="200"} 1'
	ask /metrics
	saw "status $status, $(grep -c '^http_requests_duration_seconds_bucket{' <<<"$body") buckets, $(grep '^http_requests_duration_seconds_count' <<<"$body")"
	[[ $before == 200 && $status == 200 ]] || return 1
	local bound
	for bound in 0.005 0.01 0.025 0.05 0.1 0.25 0.5 1 2.5 5 +Inf; do
		[[ $body == *"http_requests_duration_seconds_bucket{method=\"GET\",status=\"200\",le=\"$bound\"} "* ||
			$body == *"http_requests_duration_seconds_bucket{method=\"GET\",status=\"200\",le=\"$bound.0\"} "* ]] || {
			saw "no bucket for le=\"$bound\""
			return 1
		}
	done
	[[ $body == *'# TYPE http_requests_duration_seconds histogram'* && $body == *"$count"* && $body == *http_requests_duration_seconds_sum* ]]
}

rate_limit() {
	local statuses='' i
	for i in 1 2 3 4 5 6 7 8 9 10 11; do
		ask /
		statuses+="$status "
	done
	local reset
	reset=$(header X-Rate-Limit-Reset)
	saw "$statuses, $body, limit $(header X-Rate-Limit-Limit), remaining $(header X-Rate-Limit-Remaining), reset $reset, Retry-After $(header Retry-After)"
	[[ $statuses == '200 200 200 200 200 200 200 200 200 200 429 ' && $body == 'Too Many Requests' ]] &&
		[[ $(header X-Rate-Limit-Limit) == 10 && $(header X-Rate-Limit-Remaining) == 0 ]] &&
		[[ $reset =~ ^[0-9]+$ && $reset -ge 1 && $reset -le 60 && $(header Retry-After) == "$reset" ]]
}

post() {
	ask /form -X POST -d 'name=pace'
	saw "status $status, $body"
	[[ $status == 200 && $body == *'"method":"POST"'* && $body == *'"body":"name=pace"'* ]]
}

failover() {
	ask / && ask / # connections to both backends are open
	local statuses='' backends='' i
	kill -9 "$backend1" && wait "$backend1" 2>/dev/null
	pids=("${pids[@]:1}")
	for i in 1 2 3 4; do
		ask /
		statuses+="$status " backends+="$(header X-Backend) "
	done
	sleep 0.1
	local live="backend_127.0.0.1_$port2" failovers
	failovers=$(curl_quietly "http://$admin/metrics" | sum_of pace_failovers_total)
	saw "$statuses from $backends, $failovers failovers"
	[[ $statuses == '200 200 200 200 ' && $backends == "$live $live $live $live " && $failovers -ge 1 ]]
}

# --- sending requests ---

# ask sends a request for a path to the proxy. It sets status, body and body_port, and the fields that
# `header` prints.
ask() {
	local path=$1
	shift
	status=$(curl_quietly -o "$room/body" -D "$room/head" -w '%{http_code}' "$@" "http://$proxy$path")
	body=$(<"$room/body") body_port=
	[[ $body =~ \"port\":([0-9]+) ]] && body_port=${BASH_REMATCH[1]}
	return 0
}

curl_quietly() { curl --silent --noproxy '*' --max-time 10 "$@"; }

header() { sed -n "s/^$1: *\(.*\)\r$/\1/Ip" "$room/head"; }

# sum_of adds up all series of a counter.
sum_of() {
	local line sum=0
	while read -r line; do
		[[ $line == "$1{"* ]] && sum=$((sum + ${line##* }))
	done
	echo "$sum"
}

saw() { seen=$*; }

# --- starting and stopping ---

# start starts two backends and a proxy in front of them. It sets backend1, port1, port2, proxy and admin.
start() {
	launch backend1 "$tmp/testbackend" backend-1
	launch backend2 "$tmp/testbackend" backend-2
	backend1=${pids[0]}
	port1=$(await backend1 '^127\.0\.0\.1:([0-9]+)') && port2=$(await backend2 '^127\.0\.0\.1:([0-9]+)') || return 1
	cat >"$room/proxy.toml" <<-END
		[server]
		listen = "127.0.0.1:0"
		[admin]
		listen = "127.0.0.1:0"
		[upstreams]
		backends = ["http://127.0.0.1:$port1", "http://127.0.0.1:$port2"]
		[rate_limit]
		max_requests = 10
		window_seconds = 60
		key_extractor = "client_ip"
		[metrics]
		enabled = true
		endpoint = "/metrics"
		[log]
		format = "json"
	END
	launch pace "$tmp/pace" run --config "$room/proxy.toml"
	proxy=$(await pace '"msg":"listening".*"proxy":"([0-9.:]+)"') && admin=$(await pace '"msg":"listening".*"admin":"([0-9.:]+)"')
}

# launch NAME COMMAND... runs a command in the background, and writes its output to the file NAME.out.
launch() {
	local name=$1
	shift
	: >"$room/$name.out" # await may look before the command has begun
	"$@" >"$room/$name.out" 2>&1 </dev/null &
	pids+=($!)
}

# await NAME PATTERN waits until the output of NAME matches, and prints the first group of the match.
await() {
	local tries
	for ((tries = 0; tries < 200; tries++)); do
		if [[ $(<"$room/$1.out") =~ $2 ]]; then
			echo "${BASH_REMATCH[1]}"
			return
		fi
		sleep 0.05
	done
	echo "$1 did not start: $(<"$room/$1.out")" >&2
	return 1
}

stop_all() {
	local pid
	for pid in ${pids[@]+"${pids[@]}"}; do
		kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
	done
	pids=()
}

check() {
	local name=$1
	room=$tmp/$name seen='nothing: it did not start'
	mkdir "$room"
	if start && "$name"; then
		printf 'ok    %-14s %s\n' "$name" "$seen"
	else
		printf 'FAIL  %-14s %s\n' "$name" "$seen"
		failed=$((failed + 1))
	fi
	stop_all
}

go build -buildvcs=false -o "$tmp/" ./cmd/pace ./scripts/testbackend || exit 1
for name in basic_request rotation x_backend metrics rate_limit post failover; do
	check "$name"
done
[[ $failed == 0 ]] || { echo "$failed of 7 checks failed"; exit 1; }
