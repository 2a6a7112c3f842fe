// SPDX-License-Identifier: Apache-2.0
#include "viewer/renderer.h"

static const uint32_t vertex_words[] = {
#include "gui.vert.inc"
};
static const uint32_t fragment_words[] = {
#include "gui.frag.inc"
};

static vkd_result make_samplers(view_renderer *r) {
    view_gpu *v = r->gpu;
    vkd_result result = VKD_OK;
    for (uint32_t smooth = 0; smooth < 2 && !result; smooth++) {
        const VkFilter filter = smooth ? VK_FILTER_LINEAR : VK_FILTER_NEAREST;
        result = view_check(
            v,
            v->vk.vkCreateSampler(
                v->device,
                &(VkSamplerCreateInfo){.sType = VK_STRUCTURE_TYPE_SAMPLER_CREATE_INFO,
                                       .magFilter = filter,
                                       .minFilter = VK_FILTER_LINEAR,
                                       .addressModeU = VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE,
                                       .addressModeV = VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE,
                                       .addressModeW = VK_SAMPLER_ADDRESS_MODE_CLAMP_TO_EDGE},
                NULL, &r->samplers[smooth]),
            "vkCreateSampler");
    }
    return result;
}

static vkd_result make_layout(view_renderer *r) {
    view_gpu *v = r->gpu;
    const VkDescriptorSetLayoutBinding binding = {.descriptorType =
                                                      VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER,
                                                  .descriptorCount = 1,
                                                  .stageFlags = VK_SHADER_STAGE_FRAGMENT_BIT};
    vkd_result result =
        view_check(v,
                   v->vk.vkCreateDescriptorSetLayout(
                       v->device,
                       &(VkDescriptorSetLayoutCreateInfo){
                           .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
                           .bindingCount = 1,
                           .pBindings = &binding},
                       NULL, &r->set_layout),
                   "vkCreateDescriptorSetLayout");
    const VkPushConstantRange range = {VK_SHADER_STAGE_VERTEX_BIT, 0, 2 * sizeof(float)};
    if (!result)
        result = view_check(
            v,
            v->vk.vkCreatePipelineLayout(v->device,
                                         &(VkPipelineLayoutCreateInfo){
                                             .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                             .setLayoutCount = 1,
                                             .pSetLayouts = &r->set_layout,
                                             .pushConstantRangeCount = 1,
                                             .pPushConstantRanges = &range},
                                         NULL, &r->layout),
            "vkCreatePipelineLayout");
    const VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER, VIEW_PICTURES};
    if (!result)
        result = view_check(
            v,
            v->vk.vkCreateDescriptorPool(v->device,
                                         &(VkDescriptorPoolCreateInfo){
                                             .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                             .maxSets = VIEW_PICTURES,
                                             .poolSizeCount = 1,
                                             .pPoolSizes = &size},
                                         NULL, &r->pool),
            "vkCreateDescriptorPool");
    return result;
}

static vkd_result make_module(view_gpu *v, const uint32_t *words, size_t size,
                              VkShaderModule *out) {
    return view_check(
        v,
        v->vk.vkCreateShaderModule(
            v->device,
            &(VkShaderModuleCreateInfo){.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                        .codeSize = size,
                                        .pCode = words},
            NULL, out),
        "vkCreateShaderModule");
}

/* Straight alpha over what is there; of the result's own alpha nothing is asked but that it is 1.
 */
static const VkPipelineColorBlendAttachmentState blending = {
    .blendEnable = VK_TRUE,
    .srcColorBlendFactor = VK_BLEND_FACTOR_SRC_ALPHA,
    .dstColorBlendFactor = VK_BLEND_FACTOR_ONE_MINUS_SRC_ALPHA,
    .srcAlphaBlendFactor = VK_BLEND_FACTOR_ONE,
    .dstAlphaBlendFactor = VK_BLEND_FACTOR_ONE_MINUS_SRC_ALPHA,
    .colorWriteMask = VK_COLOR_COMPONENT_R_BIT | VK_COLOR_COMPONENT_G_BIT |
                      VK_COLOR_COMPONENT_B_BIT | VK_COLOR_COMPONENT_A_BIT};

static const VkVertexInputBindingDescription vertex_binding = {0, sizeof(gui_vertex),
                                                               VK_VERTEX_INPUT_RATE_VERTEX};
static const VkVertexInputAttributeDescription vertex_attributes[] = {
    {0, 0, VK_FORMAT_R32G32_SFLOAT, offsetof(gui_vertex, x)},
    {1, 0, VK_FORMAT_R32G32_SFLOAT, offsetof(gui_vertex, u)},
    {2, 0, VK_FORMAT_R8G8B8A8_UNORM, offsetof(gui_vertex, colour)}};

static vkd_result make_pipeline(view_renderer *r, const VkPipelineShaderStageCreateInfo *stages) {
    view_gpu *v = r->gpu;
    const VkPipelineVertexInputStateCreateInfo input = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO,
        .vertexBindingDescriptionCount = 1,
        .pVertexBindingDescriptions = &vertex_binding,
        .vertexAttributeDescriptionCount = VKD_COUNT(vertex_attributes),
        .pVertexAttributeDescriptions = vertex_attributes};
    const VkPipelineInputAssemblyStateCreateInfo assembly = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO,
        .topology = VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST};
    const VkPipelineViewportStateCreateInfo viewport = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO,
        .viewportCount = 1,
        .scissorCount = 1};
    const VkPipelineRasterizationStateCreateInfo raster = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO, .lineWidth = 1};
    const VkPipelineMultisampleStateCreateInfo samples = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO,
        .rasterizationSamples = VK_SAMPLE_COUNT_1_BIT};
    const VkPipelineColorBlendStateCreateInfo blend = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO,
        .attachmentCount = 1,
        .pAttachments = &blending};
    const VkDynamicState states[] = {VK_DYNAMIC_STATE_VIEWPORT, VK_DYNAMIC_STATE_SCISSOR};
    const VkPipelineDynamicStateCreateInfo dynamic = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO,
        .dynamicStateCount = VKD_COUNT(states),
        .pDynamicStates = states};
    const VkPipelineRenderingCreateInfo rendering = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO,
        .colorAttachmentCount = 1,
        .pColorAttachmentFormats = &r->format};
    const VkGraphicsPipelineCreateInfo info = {.sType =
                                                   VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO,
                                               .pNext = &rendering,
                                               .stageCount = 2,
                                               .pStages = stages,
                                               .pVertexInputState = &input,
                                               .pInputAssemblyState = &assembly,
                                               .pViewportState = &viewport,
                                               .pRasterizationState = &raster,
                                               .pMultisampleState = &samples,
                                               .pColorBlendState = &blend,
                                               .pDynamicState = &dynamic,
                                               .layout = r->layout};
    return view_check(
        v, v->vk.vkCreateGraphicsPipelines(v->device, VK_NULL_HANDLE, 1, &info, NULL, &r->pipeline),
        "vkCreateGraphicsPipelines");
}

vkd_result view_renderer_make(view_renderer *r) {
    view_gpu *v = r->gpu;
    VkShaderModule vertex = VK_NULL_HANDLE, fragment = VK_NULL_HANDLE;
    vkd_result result = make_samplers(r);
    if (!result) result = make_layout(r);
    if (!result) result = make_module(v, vertex_words, sizeof vertex_words, &vertex);
    if (!result) result = make_module(v, fragment_words, sizeof fragment_words, &fragment);
    const VkPipelineShaderStageCreateInfo stages[] = {
        {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
         .stage = VK_SHADER_STAGE_VERTEX_BIT,
         .module = vertex,
         .pName = "main"},
        {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
         .stage = VK_SHADER_STAGE_FRAGMENT_BIT,
         .module = fragment,
         .pName = "main"}};
    if (!result) result = make_pipeline(r, stages);
    v->vk.vkDestroyShaderModule(v->device, vertex, NULL);
    v->vk.vkDestroyShaderModule(v->device, fragment, NULL);
    return result;
}
