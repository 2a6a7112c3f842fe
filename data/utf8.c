// SPDX-License-Identifier: Apache-2.0
/* No overlong form, no surrogate, nothing above U+10FFFF. RFC 3629. */
#include "data/utf8.h"

/* The code at c, whose length is `length`, where it is a character. */
static uint32_t code_of(const uint8_t *c, size_t length) {
    uint32_t code = length == 1 ? c[0] : c[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++)
        code = code << 6 | (c[i] & 0x3f);
    return code;
}

size_t vkd__utf8_length(const uint8_t *c) {
    if (c[0] < 0x80) return 1;
    const size_t length = c[0] >= 0xf0 ? 4 : c[0] >= 0xe0 ? 3 : 2;
    static const uint32_t first[] = {0, 0, 0x80, 0x800, 0x10000};
    if (c[0] < 0xc2 || c[0] > 0xf4) return 0;
    for (size_t i = 1; i < length; i++)
        if ((c[i] & 0xc0) != 0x80) return 0;
    const uint32_t code = code_of(c, length);
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < first[length] || surrogate || code > 0x10ffff ? 0 : length;
}

bool vkd__utf8_is_line(const char *text) {
    const uint8_t *c = (const uint8_t *)text;
    for (size_t length; *c; c += length) {
        length = vkd__utf8_length(c);
        if (!length) return false;
        const uint32_t code = code_of(c, length);
        const bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
        if (control || code == 0x2028 || code == 0x2029) return false;
    }
    return *text != 0;
}
