/*
 * certreport: PEM in base64, serial numbers in decimal, times in RFC 3339: as istioctl reads them.
 */
#include "certreport.h"

#include <string.h>
#include <time.h>

#include "control/certmanager.h"
#include "proxy/flowdump.h"

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

static void write_certs(FILE *out, const struct issued_cert *certs, size_t count)
{
	fputc('[', out);
	for (size_t i = 0; i < count; i++) {
		const struct issued_cert *cert = &certs[i];

		fputs(i ? ",{\"pem\":\"" : "{\"pem\":\"", out);
		write_base64(out, cert->pem, strlen(cert->pem));
		fputs("\",\"serialNumber\":", out);
		flowdump_text(out, cert->serial);
		write_time(out, "validFrom", cert->not_before_s);
		write_time(out, "expirationTime", cert->not_after_s);
		fputc('}', out);
	}
	fputc(']', out);
}

struct list {
	FILE *out;
	size_t rows;
};

static void write_row(const struct certmanager_row *row, void *arg)
{
	const struct issued *issued = row->issued;
	struct list *list = arg;

	fputs(list->rows++ ? ",{\"identity\":" : "{\"identity\":", list->out);
	flowdump_text(list->out, row->identity);
	fputs(",\"state\":", list->out);
	flowdump_text(list->out, row->state);
	fputs(",\"certChain\":", list->out);
	write_certs(list->out, issued ? issued->certs : NULL, issued ? issued->chain_count : 0);
	fputs(",\"rootCerts\":", list->out);
	write_certs(list->out, issued ? issued->certs + issued->chain_count : NULL,
	            issued ? issued->roots_count : 0);
	fputc('}', list->out);
}

void certreport_write(FILE *out, const struct certmanager *certs)
{
	struct list list = { .out = out };

	fputc('[', out);
	certmanager_each(certs, write_row, &list);
	fputc(']', out);
}
