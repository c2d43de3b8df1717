/*
 * error: numbers to words.
 */
#include <hbone/error.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char text[128];

static const char *const own[] = {
	[HB_E_FIRST - HB_E_IDLE] = "idle timeout",
	[HB_E_FIRST - HB_E_DRAIN] = "drain deadline passed",
	[HB_E_FIRST - HB_E_HANDSHAKE_TIME] = "TLS handshake timed out",
	[HB_E_FIRST - HB_E_CONNECT_TIME] = "CONNECT was not answered in time",
	[HB_E_FIRST - HB_E_TRUNCATED] = "connection was cut without notice",
	[HB_E_FIRST - HB_E_TLS] = "TLS protocol failure",
	[HB_E_FIRST - HB_E_TLS_NO_ALPN] = "peer does not speak h2",
	[HB_E_FIRST - HB_E_NO_CERT] = "peer showed no certificate",
	[HB_E_FIRST - HB_E_PEER_IDENTITY] = "peer certificate has none of the expected identities",
	[HB_E_FIRST - HB_E_TRUST_DOMAIN] = "peer certificate is of another trust domain",
	[HB_E_FIRST - HB_E_GOAWAY] = "peer is going away",
	[HB_E_FIRST - HB_E_REFUSED] = "peer refused the stream",
	[HB_E_FIRST - HB_E_PING_TIME] = "peer shows no sign of life",
	[HB_E_FIRST - HB_E_H2] = "HTTP/2 protocol failure",
	[HB_E_FIRST - HB_E_LIMIT] = "limit reached",
	[HB_E_FIRST - HB_E_POLICY] = "denied by policy",
	[HB_E_FIRST - HB_E_NO_ROUTE] = "no healthy upstream",
	[HB_E_FIRST - HB_E_RECURSIVE] = "attempted recursive call to ourselves",
	[HB_E_FIRST - HB_E_CANCELLED] = "near side gave up",
	[HB_E_FIRST - HB_E_NO_CREDENTIAL] = "no certificate for the identity",
	[HB_E_FIRST - HB_E_BAD_REQUEST] = "request cannot be served",
	[HB_E_FIRST - HB_E_UNKNOWN_WORKLOAD] = "local workload is not known",
	[HB_E_FIRST - HB_E_FLOOD] = "peer floods the connection",
	[HB_E_FIRST - HB_E_STALLED] = "peer stopped halfway",
	[HB_E_FIRST - HB_E_TLS_VERSION] = "peer does not speak TLS 1.3",
	[HB_E_FIRST - HB_E_TLS_SUITE] = "peer offers no cipher suite of ours",
	[HB_E_FIRST - HB_E_HALF_CLOSED] = "half-closed for too long",
	[HB_E_FIRST - HB_E_USER_TIME] = "peer took too long to acknowledge what was sent",
	[HB_E_FIRST - HB_E_POOL_CONNECTIONS] = "too many connections to peers",
	[HB_E_FIRST - HB_E_KEY_CONNECTIONS] = "too many connections to this peer",
	[HB_E_FIRST - HB_E_POOL_WAITERS] = "too many wait for connections to peers",
	[HB_E_FIRST - HB_E_KEY_WAITERS] = "too many wait for a connection to this peer",
	[HB_E_FIRST - HB_E_POLICY_CHANGED] = "connection closed due to policy change",
	[HB_E_FIRST - HB_E_NAME] = "no address for a host name",
	[HB_E_FIRST - HB_E_NOT_TLS] = "peer does not speak TLS",
};

/* RFC 9113 7. */
static const char *const rst[] = {
	"NO_ERROR",
	"PROTOCOL_ERROR",
	"INTERNAL_ERROR",
	"FLOW_CONTROL_ERROR",
	"SETTINGS_TIMEOUT",
	"STREAM_CLOSED",
	"FRAME_SIZE_ERROR",
	"REFUSED_STREAM",
	"CANCEL",
	"COMPRESSION_ERROR",
	"CONNECT_ERROR",
	"ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY",
	"HTTP_1_1_REQUIRED",
};

static const struct {
	int number;
	const char *words;
} statuses[] = {
	{ 201, "Created" },
	{ 202, "Accepted" },
	{ 204, "No Content" },
	{ 206, "Partial Content" },
	{ 301, "Moved Permanently" },
	{ 302, "Found" },
	{ 307, "Temporary Redirect" },
	{ 308, "Permanent Redirect" },
	{ 400, "Bad Request" },
	{ 401, "Unauthorized" },
	{ 403, "Forbidden" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 408, "Request Timeout" },
	{ 429, "Too Many Requests" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Internal Server Error" },
	{ 501, "Not Implemented" },
	{ 502, "Bad Gateway" },
	{ 503, "Service Unavailable" },
	{ 504, "Gateway Timeout" },
};

/* X509_V_ERR_*, the ones that people meet; x509_vfy.h. */
static const struct {
	int number;
	const char *words;
} certs[] = {
	{ 7, "signature is wrong" },
	{ 9, "not valid yet" },
	{ 10, "expired" },
	{ 18, "self-signed" },
	{ 19, "signed by an unknown root" },
	{ 20, "signed by an unknown issuer" },
	{ 21, "issuer is unknown" },
	{ 23, "revoked" },
	{ 26, "made for another purpose" },
	{ 79, "issuer is not a CA" },
};

__attribute__((format(printf, 1, 2))) static const char *format(const char *form, ...)
{
	va_list args;

	va_start(args, form);
	vsnprintf(text, sizeof(text), form, args);
	va_end(args);
	return text;
}

/* What a peer's alert says of us, in the words of who reads the log (RFC 8446 6.2). */
static const struct {
	int number;
	const char *name, *words;
} alerts[] = {
	{ 10, "unexpected_message", NULL },
	{ 20, "bad_record_mac", NULL },
	{ 22, "record_overflow", NULL },
	{ 40, "handshake_failure", "nothing that we offer suits it" },
	{ 42, "bad_certificate", "it does not accept our certificate" },
	{ 43, "unsupported_certificate", "it does not accept our kind of certificate" },
	{ 44, "certificate_revoked", "our certificate is on its revocation list" },
	{ 45, "certificate_expired", "by its clock our certificate has ended" },
	{ 46, "certificate_unknown", "it does not accept our certificate" },
	{ 47, "illegal_parameter", NULL },
	{ 48, "unknown_ca", "it does not trust the root of our certificate" },
	{ 49, "access_denied", "it does not let our identity in" },
	{ 50, "decode_error", NULL },
	{ 51, "decrypt_error", NULL },
	{ 70, "protocol_version", "it does not speak TLS 1.3" },
	{ 71, "insufficient_security", "nothing that we offer is strong enough for it" },
	{ 80, "internal_error", NULL },
	{ 90, "user_canceled", NULL },
	{ 109, "missing_extension", NULL },
	{ 112, "unrecognized_name", "it does not know the name that we asked for" },
	{ 116, "certificate_required", "we showed no certificate" },
	{ 120, "no_application_protocol", "it does not speak h2" },
};

static const char *alert_text(int number)
{
	for (size_t i = 0; i < HB_ARRAY_LEN(alerts); i++) {
		if (alerts[i].number != number)
			continue;
		if (!alerts[i].words)
			return format("peer sent TLS alert %d %s", number, alerts[i].name);
		return format("peer sent TLS alert %d %s: %s", number, alerts[i].name,
		              alerts[i].words);
	}
	return format("peer sent TLS alert %d", number);
}

static const char *number_text(int code)
{
	int n;

	if ((n = hb_error_number(code, HB_E_STATUS(0))) >= 0) {
		for (size_t i = 0; i < HB_ARRAY_LEN(statuses); i++)
			if (statuses[i].number == n)
				return format("http status: %d %s", n, statuses[i].words);
		return format("http status: %d", n);
	}
	if ((n = hb_error_number(code, HB_E_CERT(0))) >= 0) {
		for (size_t i = 0; i < HB_ARRAY_LEN(certs); i++)
			if (certs[i].number == n)
				return format("peer certificate refused (%d): %s", n,
				              certs[i].words);
		return format("peer certificate refused (%d)", n);
	}
	if ((n = hb_error_number(code, HB_E_RST(0))) >= 0)
		return format("stream reset by peer (%d %s)", n,
		              n < (int)HB_ARRAY_LEN(rst) ? rst[n] : "unknown");
	if ((n = hb_error_number(code, HB_E_ALERT(0))) >= 0)
		return alert_text(n);
	return format("error %d", code);
}

const char *hb_strerror(int code)
{
	if (code == 0)
		return "clean";
	if (code <= HB_E_FIRST && code >= HB_E_LAST)
		return own[HB_E_FIRST - code];
	if (code < HB_E_LAST)
		return number_text(code);
	/* The GNU form never fails and never writes past the end. */
	return strerror_r(code < 0 ? -code : code, text, sizeof(text));
}

const char *hb_layer_name(enum hb_layer layer)
{
	static const char *const names[] = {
		"none", "tcp", "tls", "h2", "tunnel", "relay", "agent"
	};

	return (size_t)layer < HB_ARRAY_LEN(names) ? names[layer] : "unknown";
}

const char *hb_side_name(enum hb_side side)
{
	static const char *const names[] = { "none", "us", "peer" };

	return (size_t)side < HB_ARRAY_LEN(names) ? names[side] : "unknown";
}
