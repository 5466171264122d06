#!/usr/bin/env bash
# parts.sh provides the real programs that the tests and the bench run pace among.
#
#   parts.sh NAME          prints the path of the program NAME; builds or installs it if it is absent
#   parts.sh --find NAME   the same, but an absent one is a failure
#   parts.sh --install     installs every Debian program that is absent, in one go
#
# Built parts have their pins in scripts/parts/NAME/go.mod: one module each, because one for all
# would pull them to dependencies that they were not written for. Their binaries are kept in
# $PACE_PARTS (default: the user's cache folder), named by version and pins, so a changed pin
# is a new build and nothing else is.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
keep=${PACE_PARTS:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/pace/parts}
PATH=$PATH:/usr/local/sbin:/usr/sbin # where Debian puts nginx and haproxy, and a user's PATH does not

# program and its packages; gcc is for Go's race detector
debian='
gcc        gcc libc6-dev
prometheus prometheus
promtool   prometheus
wrk        wrk
ab         apache2-utils
nginx      nginx-light
haproxy    haproxy
strace     strace
curl       curl
git        git
ip         iproute2
openssl    openssl
systemd-analyze systemd
'

# install_missing [PROGRAM...] installs the packages of those programs (of all, without arguments)
# that are absent. With none absent it touches neither network nor package database.
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
	# Nothing may start by itself: the tests start each part, on its own port and folder.
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

# built_path NAME prints where the binary of a built part is kept.
built_path() {
	local version pins
	version=$(sed -nE "s/^(require)?[[:space:]]*[^ ]+\/$1 (v[^ ]+).*/\2/p" "$here/parts/$1/go.mod" | head -n 1)
	pins=$(cat "$here/parts/$1"/{go.mod,go.sum,main.go} | sha256sum | cut -c 1-8)
	echo "$keep/$1-${version:-v0}-$pins"
}

# build NAME OUT builds a part; a second caller waits for the first and finds its binary.
build() {
	mkdir -p "$keep"
	exec 9>"$2.lock"
	! command -v flock >/dev/null || flock 9
	[[ ! -x $2 ]] || return 0
	echo "parts: building $1, which takes minutes once" >&2
	# Flags as for pace's own builds, or the build cache would be of no use to either.
	go -C "$here/parts/$1" build -mod=readonly -ldflags='-s -w' -o "$2.tmp" . >&2
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
