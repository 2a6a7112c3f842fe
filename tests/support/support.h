// SPDX-License-Identifier: Apache-2.0
/* What the test programs share. */
#ifndef VKD_TEST_SUPPORT_H
#define VKD_TEST_SUPPORT_H

/* cmocka wants these four before it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"

/* A context that prints its errors when VKD_TEST_VERBOSE is set. Asserts that it was made. */
vkd_ctx *test_ctx(void);

/* A device under validation with synchronization validation, VKD_DEVICE or the best there is. When
 * there is none: exits with 77 (skipped), or fails where VKD_REQUIRE_GPU=1 is set. */
vkd_device *test_device(vkd_ctx *ctx);
/* Closes it; fails the test if a validation layer said anything. */
void test_device_close(vkd_device *device);

/* |got - want| <= atol + rtol*|want|, NaN fails; prints the worst element under `what`. */
void test_close(const char *what, const float *got, const double *want, size_t count, double rtol,
                double atol);

#endif
