// SPDX-License-Identifier: Apache-2.0
/* The loader, the instance and the validation layers. */
#include <string.h>

#include "gpu/instance.h"

#define VALIDATION "VK_LAYER_KHRONOS_validation"

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                                 VkDebugUtilsMessageTypeFlagsEXT types,
                                                 const VkDebugUtilsMessengerCallbackDataEXT *data,
                                                 void *user) {
    vkd__messages *m = user;
    (void)types;
    m->count++;
    const bool error = severity >= VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
    vkd__log(m->ctx, error ? VKD_LOG_ERROR : VKD_LOG_WARNING, "validation: %s", data->pMessage);
    return VK_FALSE;
}

static bool has_layer(void) {
    VkLayerProperties layers[64];
    uint32_t count = VKD_COUNT(layers);
    if (vkEnumerateInstanceLayerProperties(&count, layers) < 0) return false;
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(layers[i].layerName, VALIDATION)) return true;
    return false;
}

bool vkd__validation_available(void) {
    return !volkInitialize() && has_layer();
}

static vkd_result find_loader(vkd_ctx *ctx) {
    if (volkInitialize())
        return vkd__fail(
            ctx, VKD_E_NO_DEVICE,
            "there is no Vulkan loader on this machine; install it (Debian and Ubuntu: "
            "libvulkan1) and a driver (mesa-vulkan-drivers, or the card maker's)");
    if (volkGetInstanceVersion() < VK_API_VERSION_1_3)
        return vkd__fail(
            ctx, VKD_E_NO_DEVICE,
            "the Vulkan loader is older than Vulkan 1.3; update it (Debian and Ubuntu: "
            "libvulkan1)");
    return VKD_OK;
}

static VkDebugUtilsMessengerCreateInfoEXT messenger_info(vkd__messages *messages) {
    return (VkDebugUtilsMessengerCreateInfoEXT){
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                           VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT |
                       VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = messages};
}

static VkResult create(bool validate, const char *const *wanted, uint32_t count,
                       vkd__messages *messages, VkInstance *out) {
    const VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                   .pApplicationName = "vkdistill",
                                   .apiVersion = VK_API_VERSION_1_3};
    const VkValidationFeatureEnableEXT enable[] = {
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
    VkDebugUtilsMessengerCreateInfoEXT messenger = messenger_info(messages);
    const VkValidationFeaturesEXT validation = {.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
                                                .pNext = &messenger,
                                                .enabledValidationFeatureCount = VKD_COUNT(enable),
                                                .pEnabledValidationFeatures = enable};
    const char *const layers[] = {VALIDATION};
    const char *extensions[16] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME,
                                  VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME};
    uint32_t extension_count = validate ? 2 : 0;
    VKD_ASSERT(count + 2 <= VKD_COUNT(extensions));
    for (uint32_t i = 0; i < count; i++)
        extensions[extension_count++] = wanted[i];
    return vkCreateInstance(
        &(VkInstanceCreateInfo){.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                .pNext = validate ? &validation : NULL,
                                .pApplicationInfo = &app,
                                .enabledLayerCount = validate ? VKD_COUNT(layers) : 0,
                                .ppEnabledLayerNames = layers,
                                .enabledExtensionCount = extension_count,
                                .ppEnabledExtensionNames = extensions},
        NULL, out);
}

vkd_result vkd__instance_create(vkd_ctx *ctx, bool validate, const char *const *extensions,
                                uint32_t extension_count, vkd__messages *messages,
                                VkInstance *instance, VkDebugUtilsMessengerEXT *messenger) {
    const vkd_result r = find_loader(ctx);
    if (r) return r;
    if (validate && !has_layer())
        return vkd__fail(ctx, VKD_E_NO_DEVICE,
                         "validation was asked for, but the layer " VALIDATION
                         " is not installed (Debian and Ubuntu: vulkan-validationlayers)");
    VkResult result = create(validate, extensions, extension_count, messages, instance);
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER)
        return vkd__fail(ctx, VKD_E_NO_DEVICE,
                         "no Vulkan driver is installed; install the one for your card (Debian and "
                         "Ubuntu: mesa-vulkan-drivers, which also holds a driver for the CPU)");
    if (result)
        return vkd__fail(ctx, VKD_E_NO_DEVICE, "vkCreateInstance gave %s", vkd__vk_text(result));
    volkLoadInstanceOnly(*instance);
    if (!validate) return VKD_OK;
    const VkDebugUtilsMessengerCreateInfoEXT info = messenger_info(messages);
    result = vkCreateDebugUtilsMessengerEXT(*instance, &info, NULL, messenger);
    if (result)
        return vkd__fail(ctx, VKD_E_DEVICE, "vkCreateDebugUtilsMessengerEXT gave %s",
                         vkd__vk_text(result));
    return VKD_OK;
}

void vkd__instance_destroy(VkInstance instance, VkDebugUtilsMessengerEXT messenger) {
    if (!instance) return;
    /* Another context may have opened an instance since, and volk keeps one set of pointers; those
     * of an extension are NULL after an instance without it. */
    volkLoadInstanceOnly(instance);
    if (messenger) vkDestroyDebugUtilsMessengerEXT(instance, messenger, NULL);
    vkDestroyInstance(instance, NULL);
}

vkd_result vkd__devices_find(vkd_ctx *ctx, VkInstance instance, vkd__found *f) {
    f->count = VKD_COUNT(f->physical);
    const VkResult result = vkEnumeratePhysicalDevices(instance, &f->count, f->physical);
    if (result < 0)
        return vkd__fail(ctx, VKD_E_NO_DEVICE, "vkEnumeratePhysicalDevices gave %s",
                         vkd__vk_text(result));
    if (!f->count)
        return vkd__fail(
            ctx, VKD_E_NO_DEVICE,
            "no Vulkan driver found a device; install the driver for your card (Debian "
            "and Ubuntu: mesa-vulkan-drivers, which also holds one for the CPU)");
    f->probes = vkd__alloc(ctx, f->count, sizeof *f->probes);
    if (!f->probes) return VKD_E_MEMORY;
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; !r && i < f->count; i++)
        r = vkd__probe_device(ctx, f->physical[i], &f->probes[i]);
    return r;
}
