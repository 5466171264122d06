#!/usr/bin/env bash
# tls.sh looks at the TLS of a server from outside, as scanners of the internet do.
#
#   tls.sh HOST:PORT [NAME]   NAME is the server name that is asked for (default: HOST)
#
# It prints a table: what was checked, what the server did, and "ok", "FINDING", or "-" for what is only reported. It
# exits with 1 if there is a finding, and with 2 if it cannot tell. It needs openssl 3. About 40 handshakes take a few
# seconds.
set -uo pipefail
server=${1:?usage: tls.sh HOST:PORT [NAME]}
name=${2:-${server%:*}}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
findings=0

# row WHAT RESULT VERDICT prints a row.
row() {
	printf '%-34s %-44s %s\n' "$1" "$2" "$3"
	[[ $3 != FINDING ]] || findings=$((findings + 1))
}

# shake ARGUMENT... makes a handshake, and prints all that openssl says. Old versions and ciphers must be offered by
# force (SECLEVEL=0), or a refusal would be the client's own.
shake() {
	timeout 10 openssl s_client -connect "$server" -servername "$name" "$@" </dev/null 2>&1 | tr -d '\0'
}

# agreed reports whether the handshake that shake has printed came to its end.
agreed() { grep -qE '^ *(Protocol *: |New, TLSv|Reused, TLSv)' <<<"$1" && ! grep -qE '^New, \(NONE\)' <<<"$1"; }

first=$(shake)
if ! agreed "$first"; then
	echo "tls.sh: no handshake with $server:" >&2
	grep -m 1 -E 'error|errno' <<<"$first" >&2
	exit 2
fi

# Versions. A refusal counts only as the server's alert.
for version in tls1 tls1_1 tls1_2 tls1_3; do
	said=$(shake "-$version" -cipher 'ALL:@SECLEVEL=0')
	shown=TLS\ 1.${version#tls1}
	shown=${shown/1._/1.}
	[[ $version != tls1 ]] || shown='TLS 1.0'
	if agreed "$said"; then result=accepted; elif grep -q 'alert' <<<"$said"; then result=refused; else result='no alert'; fi
	case $version:$result in
	tls1:refused | tls1_1:refused | tls1_3:accepted) verdict=ok ;;
	tls1_2:accepted | tls1_2:refused) verdict=- ;;
	*) verdict=FINDING ;;
	esac
	row "$shown" "$result" $verdict
done

# Cipher suites, one handshake each. Each accepted one is a row.
judge() {
	case $1 in
	*NULL* | *EXP* | *RC4* | *RC2* | *DES* | *MD5* | *SEED* | *IDEA* | *CAMELLIA* | *ARIA* | ADH* | AECDH* | *PSK* | SRP* | *GOST*) echo FINDING ;;
	TLS_AES_128_CCM* | *CCM8*) echo FINDING ;;
	TLS_* | ECDHE-*GCM* | ECDHE-*CHACHA20* | DHE-*GCM* | DHE-*CHACHA20* | ECDHE-*CCM) echo ok ;;
	ECDHE-* | DHE-*) echo - ;; # CBC: for old clients, and only if the client prefers nothing better
	*) echo FINDING ;;         # no forward secrecy
	esac
}
# accepted VERSION OPTION SUITE... prints the suites that the server takes, in its order of preference: it is offered
# all, and then all but those that it has chosen.
accepted() {
	local version=$1 option=$2 chosen said
	shift 2
	local left=("$@")
	while [[ ${#left[@]} -gt 0 ]]; do
		said=$(shake "-$version" "$option" "$(IFS=:; echo "${left[*]}")$([[ $option == -cipher ]] && echo ':@SECLEVEL=0')")
		agreed "$said" || return 0
		chosen=$(sed -nE 's/^New, .*Cipher is (.*)$/\1/p' <<<"$said" | head -n 1)
		echo "$chosen"
		local rest=()
		for suite in "${left[@]}"; do [[ $suite == "$chosen" ]] || rest+=("$suite"); done
		[[ ${#rest[@]} -lt ${#left[@]} ]] || return 0
		left=("${rest[@]}")
	done
}
mapfile -t all < <(openssl ciphers -tls1_2 'ALL:COMPLEMENTOFALL:@SECLEVEL=0' | tr : '\n' | grep -v '^TLS_')
for suite in $(accepted tls1_2 -cipher "${all[@]}"); do row 'cipher of TLS 1.2' "$suite" "$(judge "$suite")"; done
all=(TLS_AES_256_GCM_SHA384 TLS_CHACHA20_POLY1305_SHA256 TLS_AES_128_GCM_SHA256 TLS_AES_128_CCM_SHA256 TLS_AES_128_CCM_8_SHA256)
for suite in $(accepted tls1_3 -ciphersuites "${all[@]}"); do row 'cipher of TLS 1.3' "$suite" "$(judge "$suite")"; done

# Groups of the key exchange.
for group in X25519MLKEM768 X25519 P-256 P-384 P-521 X448 ffdhe2048 secp224r1 prime192v1; do
	said=$(shake -tls1_3 -groups "$group")
	if agreed "$said"; then
		case $group in secp224r1 | prime192v1) row 'group' "$group" FINDING ;; *) row 'group' "$group" ok ;; esac
	fi
done

# What makes a downgrade possible.
said=$(shake -tls1_2 -fallback_scsv)
if grep -q 'inappropriate fallback' <<<"$said"; then row 'fallback to a lower version' refused ok; else row 'fallback to a lower version' 'not refused' FINDING; fi
old=$(shake -tls1_2)
if agreed "$old"; then
	if grep -q 'Compression: NONE' <<<"$old"; then row compression none ok; else row compression 'not none' FINDING; fi
	if grep -q 'Extended master secret: yes' <<<"$old"; then row 'extended master secret' yes ok; else row 'extended master secret' no FINDING; fi
	if grep -q 'Secure Renegotiation IS supported' <<<"$old"; then row 'secure renegotiation' announced ok; else row 'secure renegotiation' 'not announced' FINDING; fi
	# R asks for a renegotiation. A server that agrees shows its certificates again, and the connection goes on.
	said=$( (echo R; sleep 1; echo Q) | timeout 10 openssl s_client -connect "$server" -servername "$name" -tls1_2 2>&1)
	if ! grep -q RENEGOTIATING <<<"$said"; then
		row 'renegotiation by the client' 'not tried' FINDING
	elif grep -qE 'no renegotiation|alert|error:' <<<"${said#*RENEGOTIATING}"; then
		row 'renegotiation by the client' refused ok
	else
		row 'renegotiation by the client' accepted FINDING
	fi
fi

# resumed VERSION reports whether a session is resumed. The ticket of TLS 1.3 comes after the handshake.
resumed() {
	(sleep 0.5) | timeout 10 openssl s_client -connect "$server" -servername "$name" "-$1" -sess_out "$folder/$1" >"$folder/$1.said" 2>&1
	[[ -s $folder/$1 ]] && grep -q '^Reused' <<<"$(shake "-$1" -sess_in "$folder/$1")"
}
for version in tls1_2 tls1_3; do
	agreed "$(shake "-$version")" || continue
	if resumed $version; then row "resumption, TLS 1.${version#tls1_}" 'by ticket' ok; else row "resumption, TLS 1.${version#tls1_}" none FINDING; fi
done
if [[ -s $folder/tls1_3 ]]; then
	early=$(openssl sess_id -in "$folder/tls1_3" -noout -text | sed -nE 's/^ *Max Early Data: //p')
	if [[ ${early:-0} == 0 ]]; then row 'early data (0-RTT)' no ok; else row 'early data (0-RTT)' "$early bytes" FINDING; fi
fi

# ALPN. HTTP/2 with a cipher that RFC 9113 prohibits must not be agreed on.
for protocol in h2 http/1.1; do
	if grep -q "ALPN protocol: $protocol\$" <<<"$(shake -alpn "$protocol")"; then row "ALPN $protocol" agreed ok; else row "ALPN $protocol" 'not agreed' -; fi
done
if agreed "$(shake -alpn nothing)"; then row 'ALPN of an unknown protocol' 'goes on without' -; else row 'ALPN of an unknown protocol' refused ok; fi
if grep -q 'ALPN protocol: h2$' <<<"$(shake -tls1_2 -alpn h2,http/1.1 -cipher 'ECDHE+AES+SHA1:!AESGCM:@SECLEVEL=0')"; then
	row 'HTTP/2 with a prohibited cipher' agreed FINDING
else
	row 'HTTP/2 with a prohibited cipher' 'not agreed' ok
fi

# The certificate.
if grep -q 'OCSP response: no response sent' <<<"$(shake -status)"; then row 'OCSP response' none -; else row 'OCSP response' stapled -; fi
certificate=$(openssl x509 2>/dev/null <<<"$first")
row certificate "until $(openssl x509 -noout -enddate <<<"$certificate" | cut -d = -f 2)" \
	"$(openssl x509 -noout -checkend 0 <<<"$certificate" >/dev/null && echo ok || echo FINDING)"
signed=$(openssl x509 -noout -text <<<"$certificate" | sed -nE '0,/Signature Algorithm/s/^ *Signature Algorithm: //p')
case $signed in *sha1* | *md5* | *SHA1* | *MD5*) row 'signed with' "$signed" FINDING ;; *) row 'signed with' "$signed" ok ;; esac

echo
if [[ $findings -gt 0 ]]; then
	echo "$findings findings"
	exit 1
fi
echo 'no findings'
