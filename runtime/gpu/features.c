// SPDX-License-Identifier: Apache-2.0
/* What of a device is used, and why not the rest. */
#include <string.h>

#include "gpu/gpu.h"

static const vkd__feature every_feature[VKD__FEATURE_COUNT] = {
    [VKD__FEATURE_SUBGROUP] = {.name = "subgroup", .what = "subgroup shuffles (direct kernels)"},
    [VKD__FEATURE_TEXEL] = {.name = "texel", .what = "inputs as texel buffers (direct kernels)"},
    [VKD__FEATURE_SIZE_CONTROL] = {.name = "size_control", .what = "fixed subgroup size"},
    [VKD__FEATURE_MEMORY_BUDGET] = {.name = "memory_budget", .what = "free memory as reported"},
    [VKD__FEATURE_TIMESTAMPS] = {.name = "timestamps", .what = "times of single kernels"},
    [VKD__FEATURE_FAULT] = {.name = "fault", .what = "why a device was lost"},
    [VKD__FEATURE_CACHE] = {.name = "cache", .what = "pipeline cache on disk"},
    [VKD__FEATURE_F16] = {.name = "f16", .what = "16-bit arithmetic (matrices of f16)"},
    [VKD__FEATURE_BDA] = {.name = "bda", .what = "buffer device addresses"},
    [VKD__FEATURE_COOPMAT] = {.name = "coopmat",
                              .what = "cooperative matrices (products of mixed graphs)"},
    [VKD__FEATURE_BF16] = {.name = "bf16", .what = "the same of bf16"},
};

static vkd_result switch_off(vkd_ctx *ctx, const char *disabled, bool *off) {
    const char *names[VKD__FEATURE_COUNT];
    for (size_t i = 0; i < VKD__FEATURE_COUNT; i++)
        names[i] = every_feature[i].name;
    while (disabled && *disabled) {
        char word[32];
        const size_t length = strcspn(disabled, ",");
        if (length >= sizeof word)
            return vkd__fail(ctx, VKD_E_ARGUMENT, "VKD_DISABLE knows no feature '%s'", disabled);
        memcpy(word, disabled, length);
        word[length] = 0;
        disabled += length + (disabled[length] == ',');
        size_t i = 0;
        while (i < VKD__FEATURE_COUNT && strcmp(word, names[i]))
            i++;
        if (i < VKD__FEATURE_COUNT) {
            off[i] = true;
            continue;
        }
        if (!length) continue;
        const char *near = vkd__nearest(word, names, VKD_COUNT(names));
        return vkd__fail(ctx, VKD_E_ARGUMENT, "VKD_DISABLE knows no feature '%s'%s%s%s", word,
                         near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
    }
    return VKD_OK;
}

/* Direct kernels need shuffles and a subgroup size that is known when the plan is made: the only
 * one the device has, or one that a pipeline may ask for. */
static bool direct_possible(const vkd__probe *p, const vkd__feature *f) {
    const bool known = p->subgroup_min == p->subgroup_max || f[VKD__FEATURE_SIZE_CONTROL].used;
    return f[VKD__FEATURE_SUBGROUP].used && f[VKD__FEATURE_TEXEL].used && known;
}

static vkd_result choose_kernels(vkd_ctx *ctx, const vkd__probe *p, const char *kernels,
                                 const vkd__feature *f, bool *direct) {
    const bool possible = direct_possible(p, f);
    *direct = possible && p->type == VK_PHYSICAL_DEVICE_TYPE_CPU;
    if (!kernels || !kernels[0]) return VKD_OK;
    *direct = !strcmp(kernels, "direct");
    if (!*direct && strcmp(kernels, "tile"))
        return vkd__fail(ctx, VKD_E_ARGUMENT, "VKD_KERNELS is '%s', not 'tile' or 'direct'",
                         kernels);
    if (*direct && !possible)
        return vkd__fail(ctx, VKD_E_ARGUMENT,
                         "VKD_KERNELS=direct needs subgroup shuffles of a known size and texel "
                         "buffers, which '%s' lacks or VKD_DISABLE forbids",
                         p->name);
    return VKD_OK;
}

/* What leaves a feature unused, in words; the feature is used where nothing does. */
static void refuse(vkd__feature *f, const char *why) {
    f->used = false;
    f->why_not = why;
}

/* Why cooperative matrices of neither type are used, or NULL. */
static const char *coopmat_refused(const vkd__probe *p, const vkd__feature *f, bool direct) {
    if (!vkd__coopmat_built())
        return "this build has no kernel for it: glslc or the Vulkan headers were too old";
    if (direct) return "only tile kernels use it, and this device runs the direct ones";
    if (!f[VKD__FEATURE_SIZE_CONTROL].used) return "it takes size_control, which is not used";
    if (!p->memory_model) return "the driver lacks the feature vulkanMemoryModel";
    if (!p->coop.m) return "the device multiplies no 16-bit matrices into 32-bit sums";
    vkd_profile profile;
    vkd__profile_make(p, NULL, direct, &profile);
    if (!f[VKD__FEATURE_F16].used && !f[VKD__FEATURE_BF16].used)
        return "neither f16 nor bf16 is used";
    if (!vkd__profile_coopmat(p, f[VKD__FEATURE_F16].used, f[VKD__FEATURE_BF16].used, &profile))
        return "no tile of the kernel fits its matrices and subgroups";
    return NULL;
}

static void choose_coopmat(const vkd__probe *p, bool direct, vkd__feature *f) {
    vkd__feature *matrix = &f[VKD__FEATURE_COOPMAT], *f16 = &f[VKD__FEATURE_F16],
                 *bf16 = &f[VKD__FEATURE_BF16];
    if (bf16->used && !vkd__kernel_find("matmul.coopmat.bf16"))
        refuse(bf16, "this build has no kernel for it: glslc does not know GL_EXT_bfloat16");
    if (bf16->used && !p->coop.bf16) refuse(bf16, "its bf16 matrices have other sizes than f16's");
    const char *why = matrix->used ? coopmat_refused(p, f, direct) : NULL;
    if (why) refuse(matrix, why);
    if (!matrix->used && f16->used)
        refuse(f16, "16-bit tensors are computed with in 32-bit registers");
    if (!matrix->used && bf16->used) refuse(bf16, "coopmat is not used");
}

vkd_result vkd__probe_features(vkd_ctx *ctx, const vkd__probe *p, const char *disabled,
                               const char *kernels, vkd__feature *features, bool *direct) {
    bool off[VKD__FEATURE_COUNT] = {0};
    vkd_result r = switch_off(ctx, disabled, off);
    if (r) return r;
    const bool supported[VKD__FEATURE_COUNT] = {
        [VKD__FEATURE_SUBGROUP] = p->shuffle && p->subgroup,
        [VKD__FEATURE_TEXEL] = true,
        [VKD__FEATURE_SIZE_CONTROL] = p->size_control && p->full_subgroups && p->subgroup_pin,
        [VKD__FEATURE_MEMORY_BUDGET] = p->memory_budget,
        [VKD__FEATURE_TIMESTAMPS] = p->timestamp_bits != 0,
        [VKD__FEATURE_FAULT] = p->device_fault,
        [VKD__FEATURE_CACHE] = true,
        [VKD__FEATURE_F16] = p->f16,
        [VKD__FEATURE_BDA] = p->bda,
        [VKD__FEATURE_COOPMAT] = p->coopmat,
        [VKD__FEATURE_BF16] = p->coopmat_bf16,
    };
    for (size_t i = 0; i < VKD__FEATURE_COUNT; i++) {
        vkd__feature *f = &features[i];
        *f = every_feature[i];
        f->supported = supported[i];
        f->used = f->supported && !off[i];
        f->why_not = off[i] ? "switched off by VKD_DISABLE" : "the driver does not have it";
        if (f->used) f->why_not = "";
    }
    r = choose_kernels(ctx, p, kernels, features, direct);
    if (r) return r;
    choose_coopmat(p, *direct, features);
    const bool pinned = *direct || features[VKD__FEATURE_COOPMAT].used;
    const vkd__feature_id for_direct[] = {VKD__FEATURE_SUBGROUP, VKD__FEATURE_TEXEL,
                                          VKD__FEATURE_SIZE_CONTROL};
    for (size_t i = 0; i < VKD_COUNT(for_direct); i++) {
        vkd__feature *f = &features[for_direct[i]];
        if (*direct || !f->used || (pinned && for_direct[i] == VKD__FEATURE_SIZE_CONTROL)) continue;
        refuse(f, "only direct kernels need it, and this device runs the others");
    }
    if (features[VKD__FEATURE_BDA].used)
        refuse(&features[VKD__FEATURE_BDA], "no kernel uses it yet");
    return VKD_OK;
}
