// SPDX-License-Identifier: Apache-2.0
/* What a driver says of a lost device (VK_EXT_device_fault), in words. */
#include <inttypes.h>

#include "gpu/gpu.h"

enum { MOST = 8 }; /* of each kind; a driver may list hundreds */

static const char *address_text(VkDeviceFaultAddressTypeEXT type) {
    switch (type) {
    case VK_DEVICE_FAULT_ADDRESS_TYPE_READ_INVALID_EXT:
        return "invalid read at";
    case VK_DEVICE_FAULT_ADDRESS_TYPE_WRITE_INVALID_EXT:
        return "invalid write at";
    case VK_DEVICE_FAULT_ADDRESS_TYPE_EXECUTE_INVALID_EXT:
        return "invalid execution at";
    case VK_DEVICE_FAULT_ADDRESS_TYPE_INSTRUCTION_POINTER_UNKNOWN_EXT:
    case VK_DEVICE_FAULT_ADDRESS_TYPE_INSTRUCTION_POINTER_INVALID_EXT:
    case VK_DEVICE_FAULT_ADDRESS_TYPE_INSTRUCTION_POINTER_FAULT_EXT:
        return "instruction at";
    default:
        return "address";
    }
}

void vkd__fault_words(vkd_device *d, vkd__text *out) {
    if (!d->features[VKD__FEATURE_FAULT].used || !d->vk.vkGetDeviceFaultInfoEXT) return;
    VkDeviceFaultAddressInfoEXT addresses[MOST];
    VkDeviceFaultVendorInfoEXT vendors[MOST];
    VkDeviceFaultCountsEXT counts = {.sType = VK_STRUCTURE_TYPE_DEVICE_FAULT_COUNTS_EXT};
    if (d->vk.vkGetDeviceFaultInfoEXT(d->device, &counts, NULL) < 0) return;
    if (counts.addressInfoCount > MOST) counts.addressInfoCount = MOST;
    if (counts.vendorInfoCount > MOST) counts.vendorInfoCount = MOST;
    counts.vendorBinarySize = 0;
    VkDeviceFaultInfoEXT info = {.sType = VK_STRUCTURE_TYPE_DEVICE_FAULT_INFO_EXT,
                                 .pAddressInfos = addresses,
                                 .pVendorInfos = vendors};
    if (d->vk.vkGetDeviceFaultInfoEXT(d->device, &counts, &info) < 0) return;
    vkd__text_add(out, "; the driver says: %.*s", VK_MAX_DESCRIPTION_SIZE - 1, info.description);
    for (uint32_t i = 0; i < counts.addressInfoCount && i < MOST; i++) {
        const VkDeviceFaultAddressInfoEXT *a = &addresses[i];
        if (a->addressType == VK_DEVICE_FAULT_ADDRESS_TYPE_NONE_EXT) continue;
        vkd__text_add(out, ", %s 0x%" PRIx64 " (to %" PRIu64 " bytes)",
                      address_text(a->addressType), a->reportedAddress, a->addressPrecision);
    }
    for (uint32_t i = 0; i < counts.vendorInfoCount && i < MOST; i++)
        vkd__text_add(out, ", %.*s (code 0x%" PRIx64 ", data 0x%" PRIx64 ")",
                      VK_MAX_DESCRIPTION_SIZE - 1, vendors[i].description,
                      vendors[i].vendorFaultCode, vendors[i].vendorFaultData);
}
