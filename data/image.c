// SPDX-License-Identifier: Apache-2.0
#include "data/image.h"

void vkd__image_interleave(const uint8_t *planes, size_t pixels, uint32_t channels, uint8_t *out) {
    for (size_t i = 0; i < pixels; i++)
        for (uint32_t c = 0; c < channels; c++)
            out[i * channels + c] = planes[c * pixels + i];
}
