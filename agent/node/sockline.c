/*
 * sockline: takes a line of a socket table apart.
 */
#include "node/sockline.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEX "0123456789ABCDEFabcdef"

/* The kernel prints each 32-bit word of an address as a number, whatever the machine's order. */
static int parse_addr(const char *text, struct hb_addr *ret_addr)
{
	struct hb_addr addr = { .ip = { { [10] = 0xff, [11] = 0xff } } };
	size_t digits = strspn(text, HEX);
	uint8_t *to = digits == 8 ? addr.ip.b + 12 : addr.ip.b;
	const char *port = text + digits + 1;

	if ((digits != 8 && digits != 32) || text[digits] != ':' || strspn(port, HEX) != 4 ||
	    port[4] != '\0')
		return -EINVAL;
	for (size_t at = 0; at < digits; at += 8) {
		uint32_t word;

		if (sscanf(text + at, "%8" SCNx32, &word) != 1)
			return -EINVAL;
		memcpy(to + at / 2, &word, sizeof(word));
	}
	addr.port = (uint16_t)strtoul(port, NULL, 16);
	*ret_addr = addr;
	return 0;
}

int sockline_parse(const char *line, struct sockline *ret_line)
{
	char local[64], peer[64], state[4], inode[21];
	struct sockline parsed = { .state = 0 };

	/* As text: numbers of scanf() may have signs. */
	if (sscanf(line, " %*[0-9]: %63s %63s %3[0-9A-Fa-f] %*s %*s %*s %*s %*s %20[0-9]", local,
	           peer, state, inode) != 4 ||
	    strlen(state) != 2)
		return -EINVAL;
	if (parse_addr(local, &parsed.local) < 0 || parse_addr(peer, &parsed.peer) < 0)
		return -EINVAL;
	parsed.state = (unsigned)strtoul(state, NULL, 16);
	parsed.inode = strtoull(inode, NULL, 10);
	*ret_line = parsed;
	return 0;
}
