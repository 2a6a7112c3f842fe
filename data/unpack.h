// SPDX-License-Identifier: Apache-2.0
/* Bytes in memory, read from front to back, that may be packed with gzip (RFC 1952, one member or
 * several). Nothing is unpacked before it is asked for, so a small file cannot fill the memory. */
#ifndef VKD_UNPACK_H
#define VKD_UNPACK_H

#include "base/base.h"

typedef struct vkd__unpack vkd__unpack;

/* bytes must outlive the result; `name` is for messages and is not copied. Packed or not is told by
 * the first two bytes. Errors: VKD_E_MEMORY. */
vkd_result vkd__unpack_open(vkd_ctx *ctx, const char *name, const void *bytes, size_t size,
                            vkd__unpack **out);
void vkd__unpack_close(vkd__unpack *u);
/* The next bytes, into `to` or, when that is NULL, nowhere. *got is less than wanted only at the
 * end, which is where checksums have been compared. Errors: VKD_E_DATA, VKD_E_MEMORY. */
vkd_result vkd__unpack_read(vkd__unpack *u, void *to, size_t wanted, size_t *got);
/* No more bytes than these are left to read; exact when nothing is packed. */
uint64_t vkd__unpack_left(const vkd__unpack *u);

#endif
