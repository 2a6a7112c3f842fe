// SPDX-License-Identifier: Apache-2.0
#ifndef VKD_UTF8_H
#define VKD_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the UTF-8 character at c, 0 when it is none. The zero byte, where every text ends, is
 * never part of one. */
size_t vkd__utf8_length(const uint8_t *c);
/* Whether a text is one line: UTF-8, not empty, no control characters and no separators of lines.
 */
bool vkd__utf8_is_line(const char *text);

#endif
