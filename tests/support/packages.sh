# packages: install from Debian what is missing, and nothing when nothing is missing.
#
# Sourced. A package may be written "name/command": it counts as present when the command is.

PACKAGES_BUILD=(gcc libc6-dev cmake ninja-build pkg-config clang llvm bpftool libbpf-dev liburing-dev
	libnghttp2-dev libyaml-dev libjansson-dev libssl-dev protobuf-c-compiler libprotobuf-c-dev check)
PACKAGES_LAB=(iproute2 nftables iptables procps python3/python3 nginx-light/nginx curl iperf3 tcpdump
	openssl)
PACKAGES_TEST=(tshark haproxy nghttp2-client python3-h2 python3-pip clang-format git
	python3-grpcio python3-protobuf python3-yaml python3-cryptography protobuf-compiler libprotobuf-dev)

package_is_installed() { # PACKAGE[/COMMAND]
	local package=${1%%/*} command=${1#*/}
	[ "$command" != "$1" ] && command -v "$command" >/dev/null && return
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ]
}

# Services that come with packages are not started: the lab runs its own, in its namespaces.
packages_ensure() { # PACKAGE...
	local package missing=() log rc=0 policy=/usr/sbin/policy-rc.d
	for package in "$@"; do
		package_is_installed "$package" || missing+=("${package%%/*}")
	done
	[ ${#missing[@]} -gt 0 ] || return 0

	say "installing from Debian: ${missing[*]}"
	log=$(mktemp)
	if [ ! -e $policy ]; then
		printf '#!/bin/sh\nexit 101\n' >$policy
		chmod 755 $policy
	else
		policy=
	fi
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
		-o Dpkg::Use-Pty=0 "${missing[@]}" </dev/null >"$log" 2>&1 || rc=$?
	[ -z "$policy" ] || rm -f $policy
	if [ $rc != 0 ]; then
		tail -n 30 "$log" >&2
		warn "apt-get could not install the packages (is the list fresh? run: apt-get update)"
	fi
	rm -f "$log"
	return $rc
}
