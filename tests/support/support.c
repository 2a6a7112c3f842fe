// SPDX-License-Identifier: Apache-2.0
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void show(void *user, vkd_log_level level, const char *message) {
    (void)user;
    (void)level;
    if (getenv("VKD_TEST_VERBOSE")) fprintf(stderr, "    %s\n", message);
}

vkd_ctx *test_ctx(void) {
    vkd_ctx *ctx = NULL;
    assert_int_equal(vkd_ctx_create(&(vkd_ctx_desc){.log = show}, &ctx), VKD_OK);
    return ctx;
}

void test_close(const char *what, const float *got, const double *want, size_t count, double rtol,
                double atol) {
    size_t worst = 0;
    double worst_excess = -INFINITY;
    for (size_t i = 0; i < count; i++) {
        const double error = (double)got[i] == want[i] ? 0 : fabs((double)got[i] - want[i]);
        const double excess = isnan(error) ? INFINITY : error - atol - rtol * fabs(want[i]);
        if (excess > worst_excess) {
            worst_excess = excess;
            worst = i;
        }
    }
    if (worst_excess > 0)
        fail_msg("%s[%zu] is %.9g, should be %.9g", what, worst, (double)got[worst], want[worst]);
}
