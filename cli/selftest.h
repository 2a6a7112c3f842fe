// SPDX-License-Identifier: Apache-2.0
/* What the two halves of selftest, ops and losses, share. */
#ifndef VKD_CLI_SELFTEST_H
#define VKD_CLI_SELFTEST_H

#include <jansson.h>

#include "cli/cli.h"
#include "graph/plan.h"

typedef struct selftest {
    vkd_ctx *ctx;
    vkd_device *device;
    const char *only;
    vkd_profile variants[2]; /* the device's own, and the other kernels where it can run them */
    uint32_t variant_count;
    cli_table table;
    json_t *rows; /* NULL: a table */
    uint32_t cases, failures;
    char first[1024]; /* the first failure's words */
} selftest;

/* What one op or loss came to, in one kernel variant. */
typedef struct outcome {
    const char *kind, *name, *kernels;
    uint32_t cases;
    double worst; /* largest error as a share of what is allowed */
    bool failed;
    char message[1024];
} outcome;

/* Counts and shows it. */
void selftest_record(selftest *t, const outcome *o);
/* Whether --only asks for it. */
bool selftest_wanted(const selftest *t, const char *name);
/* A message of the validation layers counts against the one under test. */
void selftest_look_at_messages(selftest *t, uint32_t before, outcome *o);
/* A difference is the answer and the test goes on; every other failure ends it. */
vkd_result selftest_take(selftest *t, vkd_result r, outcome *o);

/* ---- selftest_losses.c ---- */
vkd_result selftest_losses(selftest *t);

#endif
