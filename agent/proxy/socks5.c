/*
 * socks5: four parts, each of a length that the one before tells.
 *
 *   HEAD version, count --> METHODS --> REQUEST version, command, 0, kind, first byte --> ADDRESS
 */
#include "proxy/socks5.h"

#include <assert.h>
#include <string.h>

enum step { HEAD, METHODS, REQUEST, ADDRESS, END };
enum kind { KIND_IPV4 = 1, KIND_NAME = 3, KIND_IPV6 = 4 };

#define VERSION         5
#define COMMAND_CONNECT 1
#define METHOD_NONE     0
#define HEAD_LEN        2
#define REQUEST_LEN     5 /* with one byte of the address, which all have: a name's is its length */

static void expect(struct socks5 *socks, enum step step, size_t bytes)
{
	socks->step = (uint8_t)step;
	socks->want = (uint16_t)(socks->have + bytes);
}

static enum socks5_next refuse(struct socks5 *socks, enum socks5_reply reply)
{
	socks->have = 0;
	expect(socks, END, 0);
	socks->reply = reply;
	return SOCKS5_REFUSED;
}

void socks5_init(struct socks5 *socks)
{
	*socks = (struct socks5){ .have = 0 };
	expect(socks, HEAD, HEAD_LEN);
}

size_t socks5_wants(const struct socks5 *socks)
{
	return (size_t)(socks->want - socks->have);
}

static enum socks5_next read_head(struct socks5 *socks)
{
	if (socks->bytes[0] != VERSION || socks->bytes[1] == 0)
		return refuse(socks, SOCKS5_NOT_SUPPORTED);
	expect(socks, METHODS, socks->bytes[1]);
	return SOCKS5_MORE;
}

static enum socks5_next read_methods(struct socks5 *socks)
{
	if (!memchr(socks->bytes + HEAD_LEN, METHOD_NONE, socks->bytes[1]))
		return refuse(socks, SOCKS5_NOT_SUPPORTED);
	socks->have = 0;
	expect(socks, REQUEST, REQUEST_LEN);
	return SOCKS5_GREETED;
}

static enum socks5_next read_request(struct socks5 *socks)
{
	const uint8_t *bytes = socks->bytes;
	size_t port = 2;

	if (bytes[0] != VERSION || bytes[1] != COMMAND_CONNECT)
		return refuse(socks, SOCKS5_NOT_SUPPORTED);
	if (bytes[3] == KIND_IPV4)
		expect(socks, ADDRESS, 3 + port);
	else if (bytes[3] == KIND_IPV6)
		expect(socks, ADDRESS, 15 + port);
	else if (bytes[3] == KIND_NAME && bytes[4] > 0)
		expect(socks, ADDRESS, bytes[4] + port);
	else
		return refuse(socks, SOCKS5_NOT_SUPPORTED);
	return SOCKS5_MORE;
}

static bool is_name(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] <= ' ' || bytes[i] > '~')
			return false;
	return true;
}

static enum socks5_next read_address(struct socks5 *socks)
{
	const uint8_t *at = socks->bytes + 4, *port = socks->bytes + socks->have - 2;
	size_t len = at[0];

	socks->dst.port = (uint16_t)(port[0] << 8 | port[1]);
	switch (socks->bytes[3]) {
	case KIND_IPV4:
		memset(socks->dst.ip.b + 10, 0xff, 2);
		memcpy(socks->dst.ip.b + 12, at, 4);
		break;
	case KIND_IPV6:
		memcpy(socks->dst.ip.b, at, 16);
		break;
	default:
		if (!is_name(at + 1, len))
			return refuse(socks, SOCKS5_HOST_UNREACHABLE);
		memcpy(socks->name, at + 1, len);
		socks->name[len] = 0;
	}
	socks->have = 0;
	expect(socks, END, 0);
	return SOCKS5_CONNECT;
}

enum socks5_next socks5_take(struct socks5 *socks, const uint8_t *bytes, size_t len)
{
	static enum socks5_next (*const read[])(struct socks5 * socks) = {
		[HEAD] = read_head,
		[METHODS] = read_methods,
		[REQUEST] = read_request,
		[ADDRESS] = read_address,
	};

	assert(len > 0 && len <= socks5_wants(socks));
	memcpy(socks->bytes + socks->have, bytes, len);
	socks->have = (uint16_t)(socks->have + len);
	return socks->have < socks->want ? SOCKS5_MORE : read[socks->step](socks);
}

void socks5_format_reply(enum socks5_reply reply, uint8_t out[SOCKS5_REPLY_LEN])
{
	/* Bound to 0.0.0.0:0: nobody asks. */
	memset(out, 0, SOCKS5_REPLY_LEN);
	out[0] = VERSION;
	out[1] = (uint8_t)reply;
	out[3] = KIND_IPV4;
}
