/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DERPANET_SHA256_H
#define DERPANET_SHA256_H

#include <stddef.h>

/* Lower-case hexadecimal, NUL-terminated. */
void sha256_hex(const void *data, size_t size, char hex[65]);

#endif
