/*
 * addr: IP addresses and ports: text, socket addresses, comparison.
 */
#include <hbone/addr.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

bool hb_ip_is_v4(const struct hb_ip *ip)
{
	return memcmp(ip->b, mapped, sizeof(mapped)) == 0;
}

bool hb_ip_is_loopback(const struct hb_ip *ip)
{
	static const struct hb_ip one = { { [15] = 1 } };

	return hb_ip_is_v4(ip) ? ip->b[12] == 127 : hb_ip_equal(ip, &one);
}

bool hb_ip_is_unspecified(const struct hb_ip *ip)
{
	static const uint8_t zero[16];

	return memcmp(hb_ip_is_v4(ip) ? ip->b + 12 : ip->b, zero, hb_ip_is_v4(ip) ? 4 : 16) == 0;
}

bool hb_ip_equal(const struct hb_ip *a, const struct hb_ip *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool hb_addr_equal(const struct hb_addr *a, const struct hb_addr *b)
{
	return a->port == b->port && hb_ip_equal(&a->ip, &b->ip);
}

int hb_ip_parse(const char *text, size_t len, struct hb_ip *ret_ip)
{
	char copy[HB_IP_STRLEN];
	struct hb_ip ip;

	if (len == 0 || len >= sizeof(copy) || memchr(text, 0, len))
		return -EINVAL;
	memcpy(copy, text, len);
	copy[len] = 0;
	if (strchr(copy, ':')) {
		if (inet_pton(AF_INET6, copy, ip.b) != 1)
			return -EINVAL;
	} else {
		memcpy(ip.b, mapped, sizeof(mapped));
		if (inet_pton(AF_INET, copy, ip.b + 12) != 1)
			return -EINVAL;
	}
	*ret_ip = ip;
	return 0;
}

static int port_parse(const char *text, size_t len, uint16_t *ret_port)
{
	uint32_t port = 0;

	if (len == 0 || len > 5)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		port = port * 10 + (uint32_t)(text[i] - '0');
	}
	if (port > UINT16_MAX)
		return -EINVAL;
	*ret_port = (uint16_t)port;
	return 0;
}

int hb_addr_parse(const char *text, size_t len, struct hb_addr *ret_addr)
{
	struct hb_addr addr;
	const char *host = text, *colon;
	size_t host_len;

	if (len > 0 && text[0] == '[') {
		colon = memchr(text, ']', len);
		if (!colon || colon + 1 >= text + len || colon[1] != ':')
			return -EINVAL;
		host = text + 1;
		host_len = (size_t)(colon - host);
		if (!memchr(host, ':', host_len))
			return -EINVAL;
		colon++;
	} else {
		colon = memchr(text, ':', len);
		if (!colon || memchr(colon + 1, ':', len - (size_t)(colon + 1 - text)))
			return -EINVAL;
		host_len = (size_t)(colon - host);
	}
	if (hb_ip_parse(host, host_len, &addr.ip) < 0 ||
	    port_parse(colon + 1, len - (size_t)(colon + 1 - text), &addr.port) < 0)
		return -EINVAL;
	*ret_addr = addr;
	return 0;
}

const char *hb_ip_format(const struct hb_ip *ip, char *out, size_t size)
{
	const char *done = hb_ip_is_v4(ip) ? inet_ntop(AF_INET, ip->b + 12, out, (socklen_t)size)
	                                   : inet_ntop(AF_INET6, ip->b, out, (socklen_t)size);

	if (!done && size > 0)
		out[0] = 0;
	return out;
}

const char *hb_addr_format(const struct hb_addr *addr, char *out, size_t size)
{
	char ip[HB_IP_STRLEN];

	hb_ip_format(&addr->ip, ip, sizeof(ip));
	snprintf(out, size, hb_ip_is_v4(&addr->ip) ? "%s:%u" : "[%s]:%u", ip, addr->port);
	return out;
}

socklen_t hb_addr_to_sockaddr(const struct hb_addr *addr, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (hb_ip_is_v4(&addr->ip)) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;

		in->sin_family = AF_INET;
		in->sin_port = htons(addr->port);
		memcpy(&in->sin_addr, addr->ip.b + 12, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(addr->port);
	memcpy(&in6->sin6_addr, addr->ip.b, 16);
	return sizeof(*in6);
}

int hb_addr_from_sockaddr(const struct sockaddr *sa, struct hb_addr *ret_addr)
{
	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;

		memcpy(ret_addr->ip.b, mapped, sizeof(mapped));
		memcpy(ret_addr->ip.b + 12, &in->sin_addr, 4);
		ret_addr->port = ntohs(in->sin_port);
		return 0;
	}
	if (sa->sa_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;

		memcpy(ret_addr->ip.b, &in6->sin6_addr, 16);
		ret_addr->port = ntohs(in6->sin6_port);
		return 0;
	}
	return -EAFNOSUPPORT;
}

static int addr_of(int fd, struct hb_addr *ret_addr,
                   int (*ask)(int, struct sockaddr *, socklen_t *))
{
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (ask(fd, (struct sockaddr *)&sa, &len) < 0)
		return -errno;
	return hb_addr_from_sockaddr((struct sockaddr *)&sa, ret_addr);
}

int hb_addr_of_local(int fd, struct hb_addr *ret_addr)
{
	return addr_of(fd, ret_addr, getsockname);
}

int hb_addr_of_peer(int fd, struct hb_addr *ret_addr)
{
	return addr_of(fd, ret_addr, getpeername);
}
