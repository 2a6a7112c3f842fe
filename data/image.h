// SPDX-License-Identifier: Apache-2.0
/* Images in host memory: bytes, row by row, the channels of a pixel side by side. */
#ifndef VKD_IMAGE_H
#define VKD_IMAGE_H

#include "base/base.h"

/* From `channels` planes of `pixels` bytes each to (pixels, channels). The two do not overlap. */
void vkd__image_interleave(const uint8_t *planes, size_t pixels, uint32_t channels, uint8_t *out);

#endif
