// SPDX-License-Identifier: Apache-2.0
#ifndef VKD_DOCTOR_TUNE_H
#define VKD_DOCTOR_TUNE_H

#include <jansson.h>

#include "check/tune.h"

/* What was tuned; t is NULL where nothing was, and `why` says what is wrong with the file, or "".
 */
void cli_tuning_print(vkd_ctx *ctx, const vkd__tuning *t, const char *why);
/* null where nothing was. */
json_t *cli_tuning_json(const vkd__tuning *t);

#endif
