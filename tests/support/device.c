// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>

#include "support/support.h"

vkd_device *test_device(vkd_ctx *ctx) {
    vkd_device *device = NULL;
    const vkd_result r = vkd_device_open(ctx, &(vkd_device_desc){.validate = true}, &device);
    if (r == VKD_E_NO_DEVICE && !getenv("VKD_REQUIRE_GPU")) {
        fprintf(stderr, "skipped: %s\n", vkd_ctx_error(ctx));
        exit(77);
    }
    if (r) fail_msg("no device for the test: %s", vkd_ctx_error(ctx));
    return device;
}

void test_device_close(vkd_device *device) {
    const uint32_t messages = vkd_device_validation_messages(device);
    vkd_device_close(device);
    assert_int_equal(messages, 0);
}
