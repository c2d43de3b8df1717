# openssl: openssl's own TLS peers against the agents, for each rule of reference/datapath 1.2 to 1.5.
#
# Sourced after cases.sh and certs.sh. The peer is in "outside"; $SERVER is the pod it asks,
# $FOREIGN its own address.

# A HTTP/2 client that leaves at once: preface, empty SETTINGS, GOAWAY. What comes back is in $LAB_DATA/tls.
tls_client() { # CERTIFICATE|- S_CLIENT ARGS...
	local with=(-cert "$CERTS/$1.crt" -key "$CERTS/$1.key")
	[ "$1" != - ] || with=()
	shift
	printf 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0\0\0\10\7\0\0\0\0\0\0\0\0\0\0\0\0\0\0' |
		lab_in outside timeout 10 openssl s_client -connect "$SERVER:15008" -quiet \
			-CAfile "$LAB_DIR/ca-cert.pem" -verify_return_error "${with[@]}" "$@" \
			>"$LAB_DATA/tls" 2>"$LAB_DATA/tls.err"
}

tls_accepts() { # CERTIFICATE ARGS...
	tls_client "$@" || fail "openssl ended with $?: $(cat "$LAB_DATA/tls.err")"
	expect_match "the server's first frame" '^00001[28]0400' "$(od -An -tx1 -N9 "$LAB_DATA/tls" | tr -d ' ')"
}

tls_refuses() { # ALERT WORDS CERTIFICATE ARGS...
	local mark alert=$1 words=$2
	shift 2
	mark=$(lab_mark agent-b)
	! tls_client "$@" || fail "openssl was let in"
	expect_eq "bytes of HTTP/2" 0 "$(stat -c %s "$LAB_DATA/tls")"
	expect_match "the alert" "alert number $alert\$" "$(cat "$LAB_DATA/tls.err")"
	lab_wait_log 5 agent-b "$mark" "connection failed.*src.addr=$FOREIGN:.*error=\"tls handshake error: $words\"" ||
		fail "agent b says: $(lab_since agent-b "$mark")"
}

# The other way round: openssl is the peer that agent a dials, and is refused.
tls_server_refused() { # WORDS CERTIFICATE S_SERVER ARGS...
	local mark words=$1 name=$2
	shift 2
	lab_spawn openssl-server outside openssl s_server -accept "$FOREIGN:15008" -quiet -naccept 1 \
		-cert "$CERTS/$name.crt" -key "$CERTS/$name.key" -CAfile "$LAB_DIR/ca-cert.pem" -Verify 5 -alpn h2 "$@"
	lab_wait_port outside 15008
	mark=$(lab_mark agent-a)
	expect_match "what the app reads" '^ reset [0-9]{1,4}$' "$(lab_in pod-a1 $PYTHON "$APP" end "$FOREIGN" 7000)"
	lab_wait_log 5 agent-a "$mark" "dst.hbone_addr=$FOREIGN:7000.*error=\"$words\"" ||
		fail "agent a says: $(lab_since agent-a "$mark")"
	! lab_is_running openssl-server || lab_kill openssl-server
}
