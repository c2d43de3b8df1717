/*
 * crc64: a checksum against accidents, for what lies on a disk: CRC-64/XZ (ECMA-182, reflected). It
 * finds every change of up to 64 bits in a row; it is no protection against anybody. Pure.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The sum of what @sum stands for (0: nothing) and @bytes after it. */
uint64_t crc64(uint64_t sum, const void *bytes, size_t len);
