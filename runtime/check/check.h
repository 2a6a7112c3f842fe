// SPDX-License-Identifier: Apache-2.0
/* Holds a device against the meaning of the ops: one case of an op runs as a program on the device
 * and on the host's double-precision executor, forward and backward, and every output and gradient
 * is compared. The test suites and `vkdistill selftest` stand on this. */
#ifndef VKD_CHECK_H
#define VKD_CHECK_H

#include "graph/case.h"
#include "graph/plan.h"

typedef struct vkd__check_report {
    double worst;      /* largest |got - want| / (atol + rtol*|want|) of all that was compared */
    uint64_t values;   /* compared */
    uint32_t launches; /* of the program */
    char what[64];     /* the case's own words, "" when it has none */
} vkd__check_report;

/* Plans with `profile`, which may differ from the device's own in what it chooses, not in what the
 * device can do. A program that changes no store tensor runs twice, and must give the same bits.
 * report may be NULL; it is filled as far as the check came.
 * Errors: VKD_E_MISMATCH names op, case, tensor and element; else what plan and program report. */
vkd_result vkd__check_case(vkd_ctx *ctx, vkd_device *device, const vkd_profile *profile,
                           const vkd_op_def *op, uint32_t index, vkd__check_report *report);

/* Central differences of the host's reference against the emitted backward nodes, run by the host
 * in double: checks `reference` and `backward` against each other. Fails with VKD_E_MISMATCH. */
vkd_result vkd__check_gradient(vkd_ctx *ctx, const vkd_op_def *op, uint32_t index);

#endif
