// SPDX-License-Identifier: Apache-2.0
/* Cooperative matrices (VK_KHR_cooperative_matrix, VK_KHR_shader_bfloat16): what a device has of
 * them, and which are taken. Headers older than an extension leave it out of the build. */
#include "gpu/gpu.h"

/* ---- Choice ---- */

/* The kernel moves K sixteen bytes at a time and C in quads; larger matrices leave too few for a
 * tile. */
static bool usable(const vkd__coop_row *r) {
    const uint32_t sizes[] = {r->m, r->n, r->k};
    for (size_t i = 0; i < VKD_COUNT(sizes); i++)
        if (!sizes[i] || sizes[i] % 8 || sizes[i] > 64) return false;
    return r->subgroup && r->f32_sums && vkd__is_half(r->operands);
}

static uint32_t volume(const vkd__coop_row *r) {
    return r->m * r->n * r->k;
}

void vkd__coop_pick(const vkd__coop_row *rows, uint32_t count, vkd__coop *out) {
    const vkd__coop_row *best = NULL;
    *out = (vkd__coop){0};
    for (uint32_t i = 0; i < count; i++) {
        if (!usable(&rows[i])) continue;
        /* f16 before bf16: recipes ask for it first, and every device with matrices has it. */
        const bool same = best && rows[i].operands == best->operands;
        if (!best || (same && volume(&rows[i]) > volume(best)) ||
            (!same && rows[i].operands == VKD_F16))
            best = &rows[i];
    }
    if (!best) return;
    out->m = best->m;
    out->n = best->n;
    out->k = best->k;
    for (uint32_t i = 0; i < count; i++) {
        const vkd__coop_row *r = &rows[i];
        if (!usable(r) || r->m != best->m || r->n != best->n || r->k != best->k) continue;
        out->f16 |= r->operands == VKD_F16;
        out->bf16 |= r->operands == VKD_BF16;
    }
}

/* ---- What the driver says ---- */

#ifdef VK_KHR_cooperative_matrix

bool vkd__coopmat_built(void) {
    return vkd__kernel_find("matmul.coopmat") != NULL;
}

static vkd_dtype operands_of(const VkCooperativeMatrixPropertiesKHR *p) {
    if (p->AType != p->BType) return VKD_I32;
    if (p->AType == VK_COMPONENT_TYPE_FLOAT16_KHR) return VKD_F16;
#ifdef VK_KHR_shader_bfloat16
    if (p->AType == VK_COMPONENT_TYPE_BFLOAT16_KHR) return VKD_BF16;
#endif
    return VKD_I32;
}

static vkd_result list(vkd_ctx *ctx, VkPhysicalDevice physical, vkd__probe *out) {
    uint32_t count = 0;
    if (vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical, &count, NULL) || !count)
        return VKD_OK;
    VkCooperativeMatrixPropertiesKHR *properties = vkd__alloc(ctx, count, sizeof *properties);
    vkd__coop_row *rows = vkd__alloc(ctx, count, sizeof *rows);
    const vkd_result r = properties && rows ? VKD_OK : VKD_E_MEMORY;
    for (uint32_t i = 0; !r && i < count; i++)
        properties[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    if (!r && vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical, &count, properties) < 0)
        count = 0;
    for (uint32_t i = 0; !r && i < count; i++) {
        const VkCooperativeMatrixPropertiesKHR *p = &properties[i];
        rows[i] = (vkd__coop_row){.m = p->MSize,
                                  .n = p->NSize,
                                  .k = p->KSize,
                                  .operands = operands_of(p),
                                  .f32_sums = p->CType == VK_COMPONENT_TYPE_FLOAT32_KHR &&
                                              p->ResultType == VK_COMPONENT_TYPE_FLOAT32_KHR,
                                  .subgroup = p->scope == VK_SCOPE_SUBGROUP_KHR};
    }
    if (!r) vkd__coop_pick(rows, count, &out->coop);
    vkd__free(ctx, rows);
    vkd__free(ctx, properties);
    return r;
}

static bool has_feature(VkPhysicalDevice physical) {
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &matrix};
    vkGetPhysicalDeviceFeatures2(physical, &features);
    return matrix.cooperativeMatrix;
}

static bool has_stage(VkPhysicalDevice physical) {
    VkPhysicalDeviceCooperativeMatrixPropertiesKHR matrix = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_PROPERTIES_KHR};
    VkPhysicalDeviceProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &matrix};
    vkGetPhysicalDeviceProperties2(physical, &properties);
    return matrix.cooperativeMatrixSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT;
}

static bool has_bf16(VkPhysicalDevice physical) {
#ifdef VK_KHR_shader_bfloat16
    VkPhysicalDeviceShaderBfloat16FeaturesKHR bf16 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &bf16};
    vkGetPhysicalDeviceFeatures2(physical, &features);
    return bf16.shaderBFloat16Type && bf16.shaderBFloat16CooperativeMatrix;
#else
    (void)physical;
    return false;
#endif
}

vkd_result vkd__probe_coopmat(vkd_ctx *ctx, VkPhysicalDevice physical, vkd__probe *out) {
    if (out->coopmat) out->coopmat = has_feature(physical) && has_stage(physical);
    if (out->coopmat_bf16) out->coopmat_bf16 = out->coopmat && has_bf16(physical);
    return out->coopmat ? list(ctx, physical, out) : VKD_OK;
}

const void *vkd__coopmat_enable(const vkd_device *d, vkd__coopmat_features *f, const void *next,
                                const char **extensions, uint32_t *count) {
    if (!d->features[VKD__FEATURE_COOPMAT].used) return next;
    extensions[(*count)++] = VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME;
    f->matrix = (VkPhysicalDeviceCooperativeMatrixFeaturesKHR){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR,
        .pNext = (void *)next,
        .cooperativeMatrix = VK_TRUE};
    next = &f->matrix;
#ifdef VK_KHR_shader_bfloat16
    if (!d->features[VKD__FEATURE_BF16].used) return next;
    extensions[(*count)++] = VK_KHR_SHADER_BFLOAT16_EXTENSION_NAME;
    f->bf16 = (VkPhysicalDeviceShaderBfloat16FeaturesKHR){
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR,
        .pNext = (void *)next,
        .shaderBFloat16Type = VK_TRUE,
        .shaderBFloat16CooperativeMatrix = VK_TRUE};
    next = &f->bf16;
#endif
    return next;
}

#else

bool vkd__coopmat_built(void) {
    return false;
}

vkd_result vkd__probe_coopmat(vkd_ctx *ctx, VkPhysicalDevice physical, vkd__probe *out) {
    (void)ctx;
    (void)physical;
    (void)out;
    return VKD_OK;
}

const void *vkd__coopmat_enable(const vkd_device *d, vkd__coopmat_features *f, const void *next,
                                const char **extensions, uint32_t *count) {
    (void)d;
    (void)f;
    (void)extensions;
    (void)count;
    return next;
}

#endif
