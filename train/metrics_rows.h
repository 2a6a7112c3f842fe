// SPDX-License-Identifier: Apache-2.0
/* The rows of metrics.jsonl as series and events: a pure function of the bytes that are fed to it.
 * metrics.c says what rows there are. */
#ifndef VKD_METRICS_ROWS_H
#define VKD_METRICS_ROWS_H

#include "base/base.h"
#include "vkdistill/inspect.h"

/* Far above what a run writes; what is beyond is left out. */
#define VKD__METRICS_PHASES 256
#define VKD__METRICS_SERIES 128    /* of a phase */
#define VKD__METRICS_NAME 128      /* bytes of a name, with its end */
#define VKD__METRICS_LINE 0x100000 /* bytes; a longer line is noise */

typedef struct vkd__metrics_rows vkd__metrics_rows;

/* NULL: no memory. */
vkd__metrics_rows *vkd__metrics_rows_create(vkd_ctx *ctx);
void vkd__metrics_rows_destroy(vkd__metrics_rows *m); /* NULL is allowed */
/* Forgets everything. */
void vkd__metrics_rows_reset(vkd__metrics_rows *m);
/* The next bytes of the file. A line counts when its end has come; how the bytes are cut into calls
 * makes no difference. Errors: VKD_E_MEMORY; the lines before are taken. */
vkd_result vkd__metrics_rows_feed(vkd__metrics_rows *m, const void *bytes, size_t size);
/* Fills what follows from rows: rows, noise, device, phases, events. Valid until the next call of
 * any of these. */
void vkd__metrics_rows_view(vkd__metrics_rows *m, vkd_metrics_view *out);

#endif
