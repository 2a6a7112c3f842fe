// SPDX-License-Identifier: Apache-2.0
/* The file "live" in a run's folder: what a training run shows to a viewer, and what the viewer
 * asks of it. docs/formats.md describes the layout for other programs.
 *
 * Two parts have one writer each: the trainer writes everything but the request, the viewer the
 * request. Each part begins with a sequence number that is odd while its writer is at work and has
 * grown by two when it is done: a reader takes what it read when the number was even and the same
 * before and after. Numbers are little-endian. Nobody waits for anybody. */
#ifndef VKD_LIVE_H
#define VKD_LIVE_H

#include "base/base.h"
#include "vkdistill/train.h"

#define VKD__LIVE_MAGIC "VKDLIVE"
#define VKD__LIVE_VERSION 1u
#define VKD__LIVE_HEADER 16384u  /* bytes; tables follow */
#define VKD__LIVE_REQUEST 12288u /* where the request begins */
#define VKD__LIVE_SETTINGS 32u
#define VKD__LIVE_MAPS 32u
#define VKD__LIVE_SAMPLES 64u /* of the probe batch, at most */

typedef struct vkd__live_setting {
    char name[60]; /* "tau.kd_kl" */
    float value;
} vkd__live_setting;

typedef struct vkd__live_map {
    char name[48];    /* the tap's */
    uint32_t teacher; /* 1: the teacher's, 0: the student's */
    uint32_t height, width;
    uint32_t unused;
    uint64_t offset; /* (samples, height, width) f32 */
} vkd__live_map;

typedef struct vkd__live_header {
    char magic[8];
    uint32_t version, header_bytes;
    uint64_t sequence;
    uint64_t file_bytes;
    uint64_t updated; /* nanoseconds since 1970 */
    uint32_t process; /* of the trainer */
    uint32_t state;   /* vkd_live_state */
    uint32_t phase_index, phase_count;
    uint32_t seed_index, seed_count;
    char phase[64], stage[64], teacher[64];
    uint64_t step, steps;
    double loss, gradient_norm, learning_rate, samples_per_second, test_accuracy;
    uint64_t request_taken; /* sequence of the last request that was applied */
    uint32_t samples, classes;
    uint32_t setting_count, map_count;
    uint64_t indices, labels;                /* offsets of (samples) i32 */
    uint64_t student_logits, teacher_logits; /* (samples, classes) f32; 0: not there */
    vkd__live_setting settings[VKD__LIVE_SETTINGS];
    vkd__live_map maps[VKD__LIVE_MAPS];
} vkd__live_header;
_Static_assert(sizeof(vkd__live_header) <= VKD__LIVE_REQUEST, "the header runs into the request");

typedef struct vkd__live_request {
    uint64_t sequence;
    uint64_t viewer_beat; /* when a viewer last looked, nanoseconds since 1970; outside the lock */
    uint32_t count, unused;
    vkd__live_setting settings[VKD__LIVE_SETTINGS];
} vkd__live_request;
_Static_assert(VKD__LIVE_REQUEST + sizeof(vkd__live_request) <= VKD__LIVE_HEADER,
               "the request runs into the tables");

/* ---- The trainer's side: live_write.c. What cannot be written is not shown,
 * and fails nothing. ---- */

typedef struct vkd__live_writer vkd__live_writer;

/* *out is NULL where the file cannot be made, which is logged. Errors: VKD_E_MEMORY. */
vkd_result vkd__live_writer_create(vkd_ctx *ctx, const char *path, vkd__live_writer **out);
void vkd__live_writer_destroy(vkd__live_writer *w); /* NULL is allowed */

/* What is shown: fields to fill in before vkd__live_publish. Offsets, magic, sequence, sizes and
 * time are the writer's. */
vkd__live_header *vkd__live_now(vkd__live_writer *w);
/* Tables of the probe batch; maps are those of the header, in order. NULLs: not there. */
typedef struct vkd__live_tables {
    const int32_t *indices, *labels;
    const float *student_logits, *teacher_logits;
    const float *maps[VKD__LIVE_MAPS];
} vkd__live_tables;
void vkd__live_publish(vkd__live_writer *w, const vkd__live_tables *tables);

/* Whether a viewer looked within the last two seconds. */
bool vkd__live_watched(vkd__live_writer *w);
/* A request that has not been taken yet; taking it is shown with the next publish. */
bool vkd__live_take(vkd__live_writer *w, vkd__live_request *out);

#endif
