/*
 * certreport: PEM in base64, serial numbers in decimal, times in RFC 3339: as istioctl reads them.
 */
#include "certreport.h"

#include <string.h>
#include <time.h>

#include "control/certs.h"
#include "proxy/flowdump.h"

static const char begin_mark[] = "-----BEGIN CERTIFICATE-----";

static void write_base64(FILE *out, const char *text, size_t len)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *in = (const unsigned char *)text;

	for (size_t i = 0; i < len; i += 3) {
		uint32_t group = (uint32_t)in[i] << 16;

		if (i + 1 < len)
			group |= (uint32_t)in[i + 1] << 8;
		if (i + 2 < len)
			group |= in[i + 2];
		fputc(digits[group >> 18], out);
		fputc(digits[group >> 12 & 63], out);
		fputc(i + 1 < len ? digits[group >> 6 & 63] : '=', out);
		fputc(i + 2 < len ? digits[group & 63] : '=', out);
	}
}

static void write_time(FILE *out, const char *key, int64_t seconds)
{
	time_t when = (time_t)seconds;
	char text[40];
	struct tm parts;

	if (!gmtime_r(&when, &parts) ||
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
		return;
	fprintf(out, ",\"%s\":\"%s\"", key, text);
}

/* One object per certificate of @pem; what is known of the leaf goes to the first. */
static void write_chain(FILE *out, const char *pem, const struct certs_row *leaf)
{
	const char *at = pem ? strstr(pem, begin_mark) : NULL;

	fputc('[', out);
	while (at) {
		const char *next = strstr(at + 1, begin_mark);
		size_t len = next ? (size_t)(next - at) : strlen(at);

		fputs("{\"pem\":\"", out);
		write_base64(out, at, len);
		fputc('"', out);
		if (leaf) {
			fputs(",\"serialNumber\":", out);
			flowdump_text(out, leaf->serial ? leaf->serial : "");
			write_time(out, "validFrom", leaf->not_before_s);
			write_time(out, "expirationTime", leaf->not_after_s);
			leaf = NULL;
		}
		fputs(next ? "}," : "}", out);
		at = next;
	}
	fputc(']', out);
}

struct list {
	FILE *out;
	size_t rows;
};

static void write_row(const struct certs_row *row, void *arg)
{
	struct list *list = arg;

	fputs(list->rows++ ? ",{\"identity\":" : "{\"identity\":", list->out);
	flowdump_text(list->out, row->identity);
	fputs(",\"state\":", list->out);
	flowdump_text(list->out, row->state);
	fputs(",\"certChain\":", list->out);
	write_chain(list->out, row->chain_pem, row);
	fputs(",\"rootCerts\":", list->out);
	write_chain(list->out, row->roots_pem, NULL);
	fputc('}', list->out);
}

void certreport_write(FILE *out, const struct certs *certs)
{
	struct list list = { .out = out };

	fputc('[', out);
	certs_each(certs, write_row, &list);
	fputc(']', out);
}
