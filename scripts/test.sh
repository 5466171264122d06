#!/usr/bin/env bash
# test.sh runs every test of the repository, on a Debian machine that has Go. `test.sh --help` says how.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

[[ -n ${HOME:-} ]] || HOME=$(mktemp -d) && export HOME # Go wants a place for its caches
command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
export CI=${CI:-} GOTOOLCHAIN=local GOFLAGS=${GOFLAGS--buildvcs=false}
tmp=$(mktemp -d) builder=
trap finish EXIT
trap 'exit 130' INT TERM

# The modules that the stages check. The parts are not among them: to build them is their check.
modules=()
for module in . e2e bench; do
	[[ -f $module/go.mod ]] && modules+=("$module")
done

# --- stages: each runs in a subshell with set -e, and sets its note in the table with `note` ---

setup() {
	bash scripts/parts.sh --install
	in_modules go list -deps -test ./... >/dev/null # fetches what they need
	tool gotestsum >/dev/null
	tool staticcheck >/dev/null
}

format() {
	local unformatted fixes # assigned below, because `local x=$(command)` hides the command's status
	unformatted=$(gofmt -l .)
	if [[ -n $unformatted ]]; then
		printf 'not formatted by gofmt:\n%s\n' "$unformatted"
		exit 1
	fi
	fixes=$(in_modules go fix -diff ./...) || { echo "$fixes"; exit 1; }
	[[ -z $fixes ]] || { echo "$fixes"; exit 1; }
}

vet() { in_modules go vet ./...; }

lint() { in_modules "$(tool staticcheck)" ./...; }

cross() {
	local os
	for os in darwin windows; do
		echo "$os"
		GOOS=$os CGO_ENABLED=0 go build ./...
		GOOS=$os CGO_ENABLED=0 go vet ./...
	done
}

unit() { go_test . -race ./...; }

# The race detector allocates, so the tests that count allocations need a run without it.
plain() { go_test . ./...; }

acceptance() {
	[[ -f scripts/test_proxy.sh ]] || missing "scripts/test_proxy.sh is not there"
	bash scripts/test_proxy.sh
}

parts() {
	wait_for_builder
	[[ ! -s $tmp/builder ]] || grep -v '^go: downloading ' "$tmp/builder" || true
	local part
	for part in scripts/parts/*/; do
		bash scripts/parts.sh "$(basename "$part")" || missing "$(basename "$part") cannot be built"
	done
}

e2e() {
	[[ -f e2e/go.mod ]] || missing "there is no e2e/"
	wait_for_builder
	# One package at a time: each starts many processes, and there are two cores.
	go_test e2e -count=1 -p=1 -timeout=12m ./...
}

bench() {
	[[ -f bench/main.go ]] || missing "there is no bench/"
	go -C bench run . -short
}

# --- what the stages use ---

# in_modules COMMAND... runs the command in each module, even after it failed in one.
in_modules() {
	local module status=0
	for module in "${modules[@]}"; do
		(cd "$module" && "$@") || { echo "in module $module: $*" >&2; status=1; }
	done
	return "$status"
}

# note TEXT sets the note of the stage in the table.
note() { echo "$1" >"$tmp/note"; }

# missing REASON ends the stage: in CI it fails, otherwise it is skipped.
missing() {
	echo "$1"
	note "$1"
	[[ $CI == true ]] && exit 1
	exit "$skipped_status"
}
skipped_status=77

# tool NAME builds a tool of scripts/tools.mod and prints its path.
tool() { go tool -n -modfile=scripts/tools.mod "$1"; }

# go_test MODULE ARGS... shows the lines of go test, the whole output of failed tests, and the reason of each skip.
go_test() {
	local gotestsum module=$1
	shift
	gotestsum=$(tool gotestsum)
	(cd "$module" && "$gotestsum" --format standard-quiet --format-hide-empty-pkg -- "$@") 2>&1 | tee "$tmp/tests"
	note "$(sed -nE 's/^DONE (.*) in .*/\1/p' "$tmp/tests" | tail -n 1)"
}

# start_builder builds the parts, which takes minutes, with low priority while the other stages run. It
# starts after setup: if a C compiler is installed later, Go must build everything again.
start_builder() {
	set -m # a process group of its own, so that finish can end the compilers too
	(
		for part in scripts/parts/*/; do
			nice -n 15 bash scripts/parts.sh "$(basename "$part")" >/dev/null
		done
	) >"$tmp/builder" 2>&1 </dev/null &
	builder=$!
	set +m
}

# wait_for_builder polls, because the subshell of a stage cannot wait for a child of its parent.
wait_for_builder() {
	while [[ -n $builder ]] && kill -0 "$builder" 2>/dev/null; do sleep 0.2; done
}

# run STAGE runs it and adds its row to the table.
run() {
	local stage=$1 began=$SECONDS status result
	printf '\n=== %s\n' "$stage"
	: >"$tmp/note"
	(set -e; "$stage") 2>&1 </dev/null | sed -u '/^go: downloading /d'
	status=$?
	case $status in
	0) result=ok passed=$((passed + 1)) ;;
	"$skipped_status") result=skipped skipped=$((skipped + 1)) ;;
	*) result=FAILED failed=$((failed + 1)) ;;
	esac
	[[ $status -ne 0 ]] || remember "$stage" $((SECONDS - began))
	rows+=("$(printf '%-12s %-8s %5d s   %s' "$stage" "$result" $((SECONDS - began)) "$(head -n 1 "$tmp/note")")")
}

# remember STAGE SECONDS records how long a stage took. It is no failure if that is not possible.
remember() {
	mkdir -p "$(dirname "$times")" 2>/dev/null || return 0
	{
		sed "/^$1 /d" "$times" 2>/dev/null || true
		echo "$1 $2"
	} >"$tmp/times" && cp "$tmp/times" "$times" 2>/dev/null || return 0
}

finish() {
	[[ -z $builder ]] || kill -- "-$builder" 2>/dev/null
	rm -rf "$tmp"
}

all=(setup format vet lint cross unit plain acceptance parts e2e bench)

# about STAGE prints what it does, and the seconds it takes on two cores with warm caches.
about() {
	case $1 in
	setup) echo '10 installs missing Debian packages and tools, fetches modules (minutes the first time)' ;;
	format) echo '30 gofmt and go fix' ;;
	vet) echo '10 go vet' ;;
	lint) echo '45 staticcheck' ;;
	cross) echo '60 builds and vets for macOS and Windows' ;;
	unit) echo '180 unit tests with the race detector' ;;
	plain) echo '60 unit tests without it, because it allocates and some tests count allocations' ;;
	acceptance) echo '20 seven checks of the running proxy' ;;
	parts) echo '5 builds Jaeger and Caddy from their sources, installs the components of Grafana (ten minutes the first time)' ;;
	e2e) echo '780 the built binary among real programs, README and docs/deployment word by word' ;;
	bench) echo '45 a short bench: is pace still cheaper than its limits' ;;
	esac
}

# Each run records how long its stages took, so that the next run shows the times of this machine.
times=${XDG_CACHE_HOME:-$HOME/.cache}/pace/test-times

# usual STAGE prints the seconds that it took the last time, or else those of `about`.
usual() {
	local known
	known=$(sed -n "s/^$1 //p" "$times" 2>/dev/null | tail -n 1)
	[[ -n $known ]] || read -r known _ <<<"$(about "$1")"
	echo "$known"
}

# plan STAGE... prints the stages, and how long each takes.
plan() {
	local stage seconds total=0
	for stage in "$@"; do
		seconds=$(usual "$stage")
		total=$((total + seconds))
		printf '  %-12s %5d s   %s\n' "$stage" "$seconds" "$(about "$stage" | cut -d ' ' -f 2-)"
	done
	printf '  %-12s %5d s   about %d min\n' 'in all' "$total" $(((total + 59) / 60))
}

help() {
	cat <<-END
		test.sh runs every test of the repository, on a Debian machine that has Go.

		  bash scripts/test.sh            all stages, in this order
		  bash scripts/test.sh STAGE...   only these stages
		  CI=true bash scripts/test.sh    what is missing fails, instead of being skipped
		  go test ./...                   the fast way: unit tests only

		A stage that fails does not keep the later ones from running. The stages, with the time that
		each took on this machine the last time, or takes on two cores:

		$(plan "${all[@]}")
	END
}

case ${1:-} in
-h | --help | help) help; exit ;;
esac
stages=("$@")
[[ $# -gt 0 ]] || stages=("${all[@]}")
for stage in "${stages[@]}"; do
	[[ " ${all[*]} " == *" $stage "* ]] || { echo "no stage $stage; there are: ${all[*]}; see --help" >&2; exit 2; }
done
echo 'Coming, with the usual times:'
plan "${stages[@]}"

passed=0 failed=0 skipped=0 rows=()
for stage in "${stages[@]}"; do
	[[ -n $builder || $stage == setup || " ${stages[*]} " != *" "@(parts|e2e)" "* ]] || start_builder
	run "$stage"
done

printf '\n%-12s %-8s %7s   %s\n' stage result time note
printf '%s\n' "${rows[@]}"
printf '%-12s %-8s %5d s\n\n' all "" "$SECONDS"
echo "$passed passed, $failed failed, $skipped skipped"
[[ $failed -eq 0 ]]
