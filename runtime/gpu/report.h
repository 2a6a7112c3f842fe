// SPDX-License-Identifier: Apache-2.0
/* What `vkdistill doctor` and `vkdistill bench` show of devices. Needs no Vulkan header. */
#ifndef VKD_REPORT_H
#define VKD_REPORT_H

#include "base/base.h"
#include "graph/plan.h"

typedef enum vkd__feature_id {
    VKD__FEATURE_SUBGROUP,
    VKD__FEATURE_TEXEL,
    VKD__FEATURE_SIZE_CONTROL,
    VKD__FEATURE_MEMORY_BUDGET,
    VKD__FEATURE_TIMESTAMPS,
    VKD__FEATURE_FAULT,
    VKD__FEATURE_CACHE,
    VKD__FEATURE_F16,
    VKD__FEATURE_BDA,
    VKD__FEATURE_COOPMAT,
    VKD__FEATURE_BF16,
    VKD__FEATURE_COUNT
} vkd__feature_id;

typedef struct vkd__feature {
    const char *name; /* the word that VKD_DISABLE takes */
    const char *what; /* what it is for */
    bool supported, used;
    const char *why_not; /* "" when it is used */
} vkd__feature;

typedef struct vkd__device_report {
    char name[256];
    const char *type; /* "discrete", "integrated", "virtual", "CPU", "other" */
    char driver[600]; /* name and version in the driver's own words */
    uint32_t api[3];  /* Vulkan version */
    uint64_t memory;  /* bytes of the heap that kernels work in */
    const char
        *missing; /* of the baseline; NULL when it can run us. What follows holds only then */
    bool chosen;  /* by what a program gets that asks for nothing */
    vkd__feature features[VKD__FEATURE_COUNT];
    vkd_profile profile;
} vkd__device_report;

/* Every device of this machine, under VKD_DEVICE, VKD_DISABLE and VKD_KERNELS as they are set. The
 * caller frees *out with vkd__free. Errors: VKD_E_NO_DEVICE (no loader, driver or device),
 * VKD_E_ARGUMENT (a variable has an unknown word), VKD_E_MEMORY. */
vkd_result vkd__device_reports(vkd_ctx *ctx, vkd__device_report **out, uint32_t *count);

/* Where an open device keeps its pipeline cache; NULL when it keeps none. And what it uses. */
const char *vkd__device_cache_path(const vkd_device *device);
const vkd__feature *vkd__device_features(const vkd_device *device); /* VKD__FEATURE_COUNT of them */
/* Bytes of the heap that kernels work in. */
uint64_t vkd__device_memory(const vkd_device *device);

/* What measurements of a device hold for. */
typedef struct vkd__identity {
    uint8_t uuid[16];
    uint32_t driver_version;
    uint64_t shaders; /* hash of all kernels of this build */
} vkd__identity;
vkd__identity vkd__device_identity(const vkd_device *device);
vkd_ctx *vkd__device_ctx(const vkd_device *device);
/* The sizes that the table of devices gives, which the device was opened with. */
const vkd_profile *vkd__device_table(const vkd_device *device);
/* Plans made from now on have the sizes of p, a changed copy of the device's profile. */
void vkd__device_set_profile(vkd_device *device, const vkd_profile *p);

/* Submits one empty command buffer, which was recorded before, and waits. *seconds is what the
 * submission itself cost the host: what a replayed step is measured against. */
vkd_result vkd__device_submit_empty(vkd_device *d, double *seconds);
/* Whether the Khronos validation layer is there, for vkd_device_desc.validate. */
bool vkd__validation_available(void);

#endif
