#!/usr/bin/env bash
# parts.sh provides the real programs that the tests and the bench run together with pace.
#
#   parts.sh NAME          prints the path of the part NAME; builds or installs it if it is absent
#   parts.sh --find NAME   the same, but an absent one is a failure
#   parts.sh --install     installs every Debian program that is absent, in one go
#
# A built part has its pinned versions in scripts/parts/NAME: in go.mod if it is a program in Go, in package.json
# and its lock if it is a folder of packages of npm. Each part is its own module, because in a shared module the
# parts would force other versions of their dependencies on each other. What is built is kept in $PACE_PARTS
# (default: the user's cache folder). Its name contains the version and a hash of the pins, so only a changed
# pin causes a new build.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
keep=${PACE_PARTS:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/pace/parts}
PATH=$PATH:/usr/local/sbin:/usr/sbin # Debian installs nginx and haproxy there, and a user's PATH lacks it

# Each line: a program, and the packages that it needs. Go's race detector needs gcc.
debian='
gcc        gcc libc6-dev
prometheus prometheus
promtool   prometheus
wrk        wrk
ab         apache2-utils
nginx      nginx-light
haproxy    haproxy
strace     strace
chromium   chromium
npm        npm
curl       curl
git        git
ip         iproute2
openssl    openssl
systemd-analyze systemd
'

# install_missing [PROGRAM...] installs the packages of the absent ones among these programs (without
# arguments: among all programs). If none is absent, it uses neither the network nor the package database.
install_missing() {
	local program packages missing=()
	while read -r program packages; do
		[[ -z $program || ($# -gt 0 && " $* " != *" $program "*) ]] && continue
		command -v "$program" >/dev/null || missing+=($packages)
	done <<<"$debian"
	[[ ${#missing[@]} -gt 0 ]] || return 0
	command -v apt-get >/dev/null || { echo "parts: no apt-get here: install ${missing[*]} by hand" >&2; return 1; }
	local root=()
	[[ $(id -u) -eq 0 ]] || root=(sudo -n)
	echo "parts: installing ${missing[*]}" >&2
	# Debian must not start the services: the tests start each part, with its own port and folder.
	local policy=/usr/sbin/policy-rc.d
	if [[ ! -e $policy ]]; then
		trap "${root[*]} rm -f $policy" EXIT
		printf '#!/bin/sh\nexit 101\n' | "${root[@]}" tee "$policy" >/dev/null
		"${root[@]}" chmod +x "$policy"
	fi
	"${root[@]}" apt-get update -qq </dev/null >&2
	"${root[@]}" env DEBIAN_FRONTEND=noninteractive \
		apt-get install -qq -y --no-install-recommends "${missing[@]}" </dev/null >&2
}

# built_path NAME prints where a built part is kept.
built_path() {
	local dir=$here/parts/$1 version pins
	if [[ -f $dir/package.json ]]; then
		version=v$(sed -nE "s|.*\"@$1/ui\": \"([^\"]+)\".*|\1|p" "$dir/package.json")
		pins=$(cat "$dir"/{package.json,package-lock.json} | sha256sum | cut -c 1-8)
	else
		version=$(sed -nE "s/^(require)?[[:space:]]*[^ ]+\/$1(\/v[0-9]+)? (v[^ ]+).*/\3/p" "$dir/go.mod" | head -n 1)
		pins=$(cat "$dir"/{go.mod,go.sum,main.go} | sha256sum | cut -c 1-8)
	fi
	echo "$keep/$1-${version:-v0}-$pins"
}

# build NAME OUT builds a part. A second caller waits for the first one, and then uses what it built.
build() {
	mkdir -p "$keep"
	exec 9>"$2.lock"
	! command -v flock >/dev/null || flock 9
	[[ ! -x $2 ]] || return 0
	echo "parts: building $1, which takes minutes once" >&2
	if [[ -f $here/parts/$1/package.json ]]; then
		rm -rf "$2.tmp" && mkdir "$2.tmp"
		cp "$here/parts/$1"/{package.json,package-lock.json} "$2.tmp"
		# No script of a package runs here: what is installed is only bundled for a browser.
		npm --prefix "$2.tmp" ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
	else
		# The same flags as for pace's own builds, so that both share the build cache.
		go -C "$here/parts/$1" build -mod=readonly -ldflags='-s -w' -o "$2.tmp" . >&2
	fi
	mv "$2.tmp" "$2"
}

find=
case ${1:-} in
--install) install_missing; exit ;;
--find) find=yes; shift ;;
esac
name=${1:?usage: parts.sh [--find] NAME, or parts.sh --install}

if [[ -d $here/parts/$name ]]; then
	path=$(built_path "$name")
	[[ -n $find ]] || build "$name" "$path"
	[[ -x $path ]] || { echo "$name: not built; run bash scripts/parts.sh $name" >&2; exit 1; }
	echo "$path"
elif grep -qE "^$name " <<<"$debian"; then
	[[ -n $find ]] || install_missing "$name"
	command -v "$name" || { echo "$name: not found; run bash scripts/parts.sh --install" >&2; exit 1; }
else
	echo "$name: no such part" >&2
	exit 2
fi
