// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "gpu/gpu.h"

static VkDescriptorType descriptor_type(vkd__slot_kind kind) {
    return kind == VKD__SLOT_BUFFER ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                                    : VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
}

static vkd_result make_layouts(vkd_device *d, vkd__kernel_object *k) {
    const vkd__reflection *r = &k->reflection;
    VkDescriptorSetLayoutBinding bindings[VKD__MAX_BINDINGS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < r->binding_count; i++) {
        if (r->binding[i] == VKD__SLOT_NONE) continue;
        bindings[count++] =
            (VkDescriptorSetLayoutBinding){.binding = i,
                                           .descriptorType = descriptor_type(r->binding[i]),
                                           .descriptorCount = 1,
                                           .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT};
    }
    const vkd_result made =
        VKD__VK(d, vkCreateDescriptorSetLayout(
                       d->device,
                       &(VkDescriptorSetLayoutCreateInfo){
                           .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                           .bindingCount = count,
                           .pBindings = bindings},
                       NULL, &k->set_layout));
    if (made) return made;
    const VkPushConstantRange push = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
                                      .size = (uint32_t)vkd__align_up(r->push_bytes, 4)};
    return VKD__VK(
        d, vkCreatePipelineLayout(
               d->device,
               &(VkPipelineLayoutCreateInfo){.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                             .setLayoutCount = 1,
                                             .pSetLayouts = &k->set_layout,
                                             .pushConstantRangeCount = r->push_bytes ? 1 : 0,
                                             .pPushConstantRanges = &push},
               NULL, &k->layout));
}

static void destroy_kernel(vkd_device *d, vkd__kernel_object *k) {
    d->vk.vkDestroyPipelineLayout(d->device, k->layout, NULL);
    d->vk.vkDestroyDescriptorSetLayout(d->device, k->set_layout, NULL);
    d->vk.vkDestroyShaderModule(d->device, k->module, NULL);
    *k = (vkd__kernel_object){0};
}

static vkd_result make_kernel(vkd_device *d, const vkd__kernel *source, vkd__kernel_object *k) {
    if (k->made) return VKD_OK;
    vkd_result r = vkd__reflect(d->ctx, source, &k->reflection);
    if (r) return r;
    r = VKD__VK(d, vkCreateShaderModule(d->device,
                                        &(VkShaderModuleCreateInfo){
                                            .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                            .codeSize = source->word_count * sizeof(uint32_t),
                                            .pCode = source->words},
                                        NULL, &k->module));
    if (!r) r = make_layouts(d, k);
    if (r) destroy_kernel(d, k); /* nothing half made is left for the next attempt to find */
    k->made = !r;
    return r;
}

/* The launch's constants in the kernel's order. Those the kernel does not declare are left out, so
 * that they do not make two pipelines of one. */
static void order_constants(const vkd__launch *launch, vkd__pipeline *p) {
    const vkd__reflection *r = &p->kernel->reflection;
    for (uint32_t i = 0; i < r->spec_count; i++) {
        for (uint32_t j = 0; j < launch->spec_count; j++) {
            if (launch->spec_id[j] != r->spec_id[i]) continue;
            p->spec[i] = launch->spec[j];
            p->spec_set |= 1u << i;
        }
    }
}

static uint32_t constant(const vkd__launch *launch, uint32_t id) {
    for (uint32_t i = 0; i < launch->spec_count; i++)
        if (launch->spec_id[i] == id) return launch->spec[i];
    return 1;
}

/* The constants that are given. The validation layers (seen in 1.4.309) take the entry in the place
 * of a constant's id for that constant's, so under them each stands there, and what lies between
 * are ids that no kernel has. */
static uint32_t map_constants(const vkd_device *d, const vkd__pipeline *p,
                              VkSpecializationMapEntry *out) {
    const vkd__reflection *r = &p->kernel->reflection;
    uint32_t count = 0;
    for (uint32_t i = 0; i < VKD__SPEC_IDS && d->validated; i++)
        out[count++] = (VkSpecializationMapEntry){.constantID = VKD__SPEC_IDS + i};
    for (uint32_t i = 0; i < r->spec_count; i++) {
        if (!(p->spec_set >> i & 1)) continue;
        out[d->validated ? r->spec_id[i] : count++] = (VkSpecializationMapEntry){
            r->spec_id[i], i * (uint32_t)sizeof(uint32_t), sizeof(uint32_t)};
    }
    return count;
}

static vkd_result create(vkd_device *d, const vkd__launch *launch, vkd__pipeline *p) {
    VkSpecializationMapEntry entries[VKD__SPEC_IDS];
    const VkSpecializationInfo constants = {.mapEntryCount = map_constants(d, p, entries),
                                            .pMapEntries = entries,
                                            .dataSize = sizeof p->spec,
                                            .pData = p->spec};
    /* Without the feature all subgroups have the one size that the plan counts on. */
    const bool pin = launch->subgroup && d->features[VKD__FEATURE_SIZE_CONTROL].used;
    const bool whole = pin && constant(launch, 0) % launch->subgroup == 0;
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfo size = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = launch->subgroup};
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        /* Pieces share a pipeline only with pieces: their constants say how large the grid is. */
        .flags = (launch->piece ? VK_PIPELINE_CREATE_DISPATCH_BASE : 0u) |
                 (d->statistics ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR : 0u) |
                 (d->code ? VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR : 0u),
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = pin ? &size : NULL,
                  .flags = whole ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = p->kernel->module,
                  .pName = "main",
                  .pSpecializationInfo = &constants},
        .layout = p->kernel->layout};
    const vkd_result r =
        VKD__VK(d, vkCreateComputePipelines(d->device, d->cache, 1, &info, NULL, &p->pipeline));
    if (r)
        return vkd__fail(d->ctx, r, "kernel '%s' for '%s': %s", launch->kernel, launch->label,
                         d->ctx->error);
    return VKD_OK;
}

static vkd_result check_workgroup(vkd_device *d, const vkd__launch *launch) {
    const VkPhysicalDeviceLimits *l = &d->probe.limits;
    const uint64_t x = constant(launch, 0), y = constant(launch, 1), z = constant(launch, 2);
    if (x && y && z && x <= l->maxComputeWorkGroupSize[0] && y <= l->maxComputeWorkGroupSize[1] &&
        z <= l->maxComputeWorkGroupSize[2] && x * y * z <= l->maxComputeWorkGroupInvocations)
        return VKD_OK;
    return vkd__fail(
        d->ctx, VKD_E_ARGUMENT, "kernel '%s' for '%s': '%s' cannot run workgroups of %u x %u x %u",
        launch->kernel, launch->label, d->probe.name, (unsigned)x, (unsigned)y, (unsigned)z);
}

vkd_result vkd__pipeline_get(vkd_device *d, const vkd__launch *launch, vkd__pipeline *out) {
    const vkd__kernel *source = vkd__kernel_find(launch->kernel);
    if (!source)
        return vkd__fail(d->ctx, VKD_E_ARGUMENT, "there is no kernel '%s' for '%s'", launch->kernel,
                         launch->label);
    vkd__pipeline p = {.kernel_index = (uint32_t)(source - vkd__kernels)};
    vkd__kernel_object *kernel = &d->kernels[p.kernel_index];
    p.kernel = kernel;
    vkd_result r = make_kernel(d, source, kernel);
    if (!r && kernel->reflection.coopmat && !d->features[VKD__FEATURE_COOPMAT].used)
        r = vkd__fail(d->ctx, VKD_E_ARGUMENT,
                      "kernel '%s' for '%s' takes cooperative matrices, which '%s' was not opened "
                      "with",
                      launch->kernel, launch->label, d->probe.name);
    if (!r) r = vkd__reflect_check(d->ctx, &kernel->reflection, launch);
    if (!r) r = check_workgroup(d, launch);
    if (r) return r;
    order_constants(launch, &p);
    for (size_t i = 0; i < d->pipeline_count; i++) {
        const vkd__pipeline *have = &d->pipelines[i];
        if (have->kernel_index != p.kernel_index || have->spec_set != p.spec_set ||
            memcmp(have->spec, p.spec, sizeof p.spec) != 0)
            continue;
        *out = *have;
        return VKD_OK;
    }
    if (!VKD__RESERVE(d->ctx, d->pipelines, d->pipeline_count, d->pipeline_capacity))
        return VKD_E_MEMORY;
    r = create(d, launch, &p);
    if (r) return r;
    d->pipelines[d->pipeline_count++] = p;
    *out = p;
    return VKD_OK;
}

void vkd__pipelines_destroy(vkd_device *d) {
    for (size_t i = 0; i < d->pipeline_count; i++)
        d->vk.vkDestroyPipeline(d->device, d->pipelines[i].pipeline, NULL);
    vkd__free(d->ctx, d->pipelines);
    for (size_t i = 0; d->kernels && i < vkd__kernel_count; i++)
        destroy_kernel(d, &d->kernels[i]);
    d->pipelines = NULL;
    d->pipeline_count = d->pipeline_capacity = 0;
}
