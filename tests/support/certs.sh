# certs: workload certificates of the lab's CA, made with openssl, good ones and others.
#
# Sourced after lab.sh, once a lab is up. They lie in $LAB_DATA/certs as NAME.crt and NAME.key.

CERTS_EARLIER=20200101000000Z
CERTS_LATER=20990101000000Z

certs_init() {
	CERTS=$LAB_DATA/certs
	mkdir -p "$CERTS" && : >"$CERTS/index.txt" &&
		cat >"$CERTS/ca.conf" <<-CONF
		[ca]
		default_ca = lab
		[lab]
		database = $CERTS/index.txt
		new_certs_dir = $CERTS
		rand_serial = yes
		unique_subject = no
		default_md = sha256
		policy = any
		[any]
		commonName = optional
		CONF
}

# A certificate like those of a mesh: ECDSA P-256, no subject, SANs alone say whose it is.
# certs_make NAME SANS [START END [CA_CERT CA_KEY]]: SANS as openssl writes them, URI:spiffe://...
certs_make() {
	local name=$1 start=${3:-$CERTS_EARLIER} end=${4:-$CERTS_LATER}
	local ca=${5:-$LAB_DIR/ca-cert.pem} key=${6:-$LAB_DIR/ca-key.pem}
	cat >"$CERTS/$name.ext" <<-EXT
	basicConstraints = critical,CA:FALSE
	keyUsage = critical,digitalSignature
	extendedKeyUsage = serverAuth,clientAuth
	subjectAltName = critical,$2
	EXT
	{
		openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj / \
			-keyout "$CERTS/$name.key" -out "$CERTS/$name.csr" &&
			openssl ca -batch -notext -config "$CERTS/ca.conf" -cert "$ca" -keyfile "$key" \
				-startdate "$start" -enddate "$end" -extfile "$CERTS/$name.ext" \
				-in "$CERTS/$name.csr" -out "$CERTS/$name.crt"
	} >"$CERTS/$name.log" 2>&1 ||
		{ warn "openssl could not make certificate $name: $(tail -n 3 "$CERTS/$name.log")"; return 1; }
}

# A root nobody trusts: $CERTS/NAME.crt, with its key.
certs_root() { # NAME
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /O=nobody \
		-addext 'keyUsage=critical,keyCertSign' -keyout "$CERTS/$1.key" -out "$CERTS/$1.crt" 2>"$CERTS/$1.log"
}

# A CA that the lab's CA has signed, for chains: its leaves are shown with -cert_chain $CERTS/NAME.crt.
certs_intermediate() { # NAME
	local name=$1
	printf '%s\n' 'basicConstraints = critical,CA:TRUE' 'keyUsage = critical,keyCertSign,cRLSign' \
		>"$CERTS/$name.ext"
	{
		openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
			-keyout "$CERTS/$name.key" -out "$CERTS/$name.csr" &&
			openssl ca -batch -notext -config "$CERTS/ca.conf" -cert "$LAB_DIR/ca-cert.pem" \
				-keyfile "$LAB_DIR/ca-key.pem" -startdate $CERTS_EARLIER -enddate $CERTS_LATER \
				-extfile "$CERTS/$name.ext" -in "$CERTS/$name.csr" -out "$CERTS/$name.crt"
	} >"$CERTS/$name.log" 2>&1 ||
		{ warn "openssl could not make the CA $name: $(tail -n 3 "$CERTS/$name.log")"; return 1; }
}

# The serial number of $CERTS/NAME.crt, in hexadecimal.
certs_serial() { openssl x509 -noout -serial -in "$CERTS/$1.crt" | cut -d= -f2; } # NAME

# A revocation list on stdout, of serial numbers in hexadecimal. certs_crl CA_CERT CA_KEY END [SERIAL...]
certs_crl() {
	local cert=$1 key=$2 end=$3 serial
	shift 3
	sed "s,index.txt,revoked.txt," "$CERTS/ca.conf" >"$CERTS/crl.conf"
	for serial in "$@"; do
		printf 'R\t%s\t%s\t%s\tunknown\t/\n' $CERTS_LATER ${CERTS_EARLIER#20} "$serial"
	done >"$CERTS/revoked.txt"
	openssl ca -gencrl -config "$CERTS/crl.conf" -cert "$cert" -keyfile "$key" \
		-crl_lastupdate $CERTS_EARLIER -crl_nextupdate "$end" 2>"$CERTS/crl.log" ||
		{ warn "openssl could not make a revocation list: $(tail -n 3 "$CERTS/crl.log")"; return 1; }
}
