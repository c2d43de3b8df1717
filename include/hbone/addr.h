/*
 * addr: an IP address with a port. IPv4 is held mapped (::ffff:a.b.c.d), so there is one kind.
 */
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <hbone/base.h>

struct hb_ip {
	uint8_t b[16]; /* network order; IPv4 as ::ffff:a.b.c.d */
};

struct hb_addr {
	struct hb_ip ip;
	uint16_t port; /* host order */
};

#define HB_IP_STRLEN   INET6_ADDRSTRLEN /* with the final NUL */
#define HB_ADDR_STRLEN (INET6_ADDRSTRLEN + sizeof("[]:65535"))

bool hb_ip_is_v4(const struct hb_ip *ip);
bool hb_ip_is_loopback(const struct hb_ip *ip); /* 127/8 or ::1 */
bool hb_ip_is_unspecified(const struct hb_ip *ip);
bool hb_ip_equal(const struct hb_ip *a, const struct hb_ip *b);
bool hb_addr_equal(const struct hb_addr *a, const struct hb_addr *b);

/* Strict text, no zone, no leading zeros, no blanks. @text need not end with NUL. 0 or -EINVAL. */
int hb_ip_parse(const char *text, size_t len, struct hb_ip *ret_ip);
/* "1.2.3.4:80" or "[::1]:80". 0 or -EINVAL. */
int hb_addr_parse(const char *text, size_t len, struct hb_addr *ret_addr);

/* Both write at most @size bytes with the NUL and return @out. IPv4 is shown as IPv4. */
const char *hb_ip_format(const struct hb_ip *ip, char *out, size_t size);
const char *hb_addr_format(const struct hb_addr *addr, char *out, size_t size);

/* AF_INET for mapped addresses, else AF_INET6. Returns the length used. */
socklen_t hb_addr_to_sockaddr(const struct hb_addr *addr, struct sockaddr_storage *out);
/* 0, or -EAFNOSUPPORT for anything but AF_INET and AF_INET6. */
int hb_addr_from_sockaddr(const struct sockaddr *sa, struct hb_addr *ret_addr);
/* getsockname() and getpeername(), canonical. 0 or -errno. */
int hb_addr_of_local(int fd, struct hb_addr *ret_addr);
int hb_addr_of_peer(int fd, struct hb_addr *ret_addr);
