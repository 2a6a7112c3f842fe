// SPDX-License-Identifier: Apache-2.0
/* The tuner: which of a knob's candidates (graph/geometry.h) is fastest on this device.
 *   race.c         the decision, from samples alone
 *   tune_shapes.c  the graph that stands for a knob
 *   tune_knob.c    one knob: building, sampling
 *   tune_file.c    what is kept between runs, as text
 *   tune.c         cache, budget, all knobs */
#ifndef VKD_TUNE_H
#define VKD_TUNE_H

#include "gpu/report.h"
#include "graph/geometry.h"

enum { VKD__TUNE_MOST = 64, VKD__TUNE_NAME = 48 };

/* What was found for one knob. */
typedef struct vkd__tuned {
    char name[VKD__TUNE_NAME];
    char table[VKD__SIZE_TEXT], chosen[VKD__SIZE_TEXT];
    uint64_t table_ns, chosen_ns; /* medians of one step; 0: there was no time to measure */
    uint32_t tried, candidates;   /* the table's choice is one of both */
} vkd__tuned;

typedef struct vkd__tuning {
    vkd__identity device;
    bool direct, full;
    uint64_t table; /* hash of the names, the table's sizes and all candidates of the knobs */
    uint32_t count;
    vkd__tuned knob[VKD__TUNE_MOST];
} vkd__tuning;

/* ---- tune_shapes.c ---- */

/* Builds what the knob is measured with on a device of profile `p`; the time of launches whose
 * kernel begins with *kernel counts. false: nothing stands for such a knob. full: more shapes of
 * its class. */
bool vkd__tune_build(vkd_graph *g, const vkd_profile *p, const char *knob, bool full,
                     const char **kernel);

/* ---- tune_knob.c ---- */

/* Times the candidates, from the sizes in *p, for at most `budget` seconds and the candidate then
 * under way, and leaves the winner in *p. Errors: of planning and running. */
vkd_result vkd__tune_knob(vkd_device *device, const vkd__knob *knob, bool full, double budget,
                          vkd_profile *p, vkd__tuned *out);

/* ---- tune_file.c ---- */

/* What a file must be made for to be believed; no knobs. */
vkd__tuning vkd__tuning_key(const vkd_device *device);
void vkd__tuning_print(const vkd__tuning *t, vkd__text *out);
/* Reads any bytes. NULL, or what is wrong with them; *out is then undefined. */
const char *vkd__tuning_parse(const void *bytes, size_t size, vkd__tuning *out);
/* NULL, or why it does not hold for the key. */
const char *vkd__tuning_foreign(const vkd__tuning *t, const vkd__tuning *key);

/* ---- tune.c ---- */

/* Where this device's is kept: beside the pipeline cache. false: nowhere. */
bool vkd__tuning_path(const vkd_device *device, char *out, size_t size);
/* What the cache has for this device. false: nothing that can be believed; *why says so, "" when
 * there is no file. */
bool vkd__tuning_load(const vkd_device *device, vkd__tuning *out, const char **why);

#endif
