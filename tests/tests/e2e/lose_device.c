/* A Vulkan layer that loses the device while the file that LOSE_DEVICE_WHILE names is there: each submission then answers
 * as a card does that was reset or taken away. */

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

static PFN_vkGetInstanceProcAddr next_of_instance;
static PFN_vkGetDeviceProcAddr next_of_device;
static PFN_vkQueueSubmit next_submit;

PFN_vkVoidFunction lose_device_instance(VkInstance instance, const char *name);
PFN_vkVoidFunction lose_device_device(VkDevice device, const char *name);

static VkResult submit(VkQueue queue, uint32_t count, const VkSubmitInfo *work, VkFence fence) {
    const char *lost = getenv("LOSE_DEVICE_WHILE");
    if (lost != NULL && access(lost, F_OK) == 0) {
        return VK_ERROR_DEVICE_LOST;
    }
    return next_submit(queue, count, work, fence);
}

static VkResult create_instance(const VkInstanceCreateInfo *info, const VkAllocationCallbacks *memory, VkInstance *made) {
    VkLayerInstanceCreateInfo *link = (VkLayerInstanceCreateInfo *)info->pNext;
    while (link->sType != VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO || link->function != VK_LAYER_LINK_INFO) {
        link = (VkLayerInstanceCreateInfo *)link->pNext;
    }
    next_of_instance = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    return ((PFN_vkCreateInstance)next_of_instance(NULL, "vkCreateInstance"))(info, memory, made);
}

static VkResult create_device(VkPhysicalDevice card, const VkDeviceCreateInfo *info, const VkAllocationCallbacks *memory,
                              VkDevice *made) {
    VkLayerDeviceCreateInfo *link = (VkLayerDeviceCreateInfo *)info->pNext;
    while (link->sType != VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO || link->function != VK_LAYER_LINK_INFO) {
        link = (VkLayerDeviceCreateInfo *)link->pNext;
    }
    PFN_vkGetInstanceProcAddr of_instance = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    next_of_device = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkResult result = ((PFN_vkCreateDevice)of_instance(NULL, "vkCreateDevice"))(card, info, memory, made);
    if (result == VK_SUCCESS) {
        next_submit = (PFN_vkQueueSubmit)next_of_device(*made, "vkQueueSubmit");
    }
    return result;
}

static PFN_vkVoidFunction ours(const char *name) {
    if (strcmp(name, "vkCreateInstance") == 0) return (PFN_vkVoidFunction)create_instance;
    if (strcmp(name, "vkCreateDevice") == 0) return (PFN_vkVoidFunction)create_device;
    if (strcmp(name, "vkQueueSubmit") == 0) return (PFN_vkVoidFunction)submit;
    if (strcmp(name, "vkGetInstanceProcAddr") == 0) return (PFN_vkVoidFunction)lose_device_instance;
    if (strcmp(name, "vkGetDeviceProcAddr") == 0) return (PFN_vkVoidFunction)lose_device_device;
    return NULL;
}

PFN_vkVoidFunction lose_device_instance(VkInstance instance, const char *name) {
    PFN_vkVoidFunction found = ours(name);
    return found != NULL ? found : next_of_instance(instance, name);
}

PFN_vkVoidFunction lose_device_device(VkDevice device, const char *name) {
    PFN_vkVoidFunction found = ours(name);
    return found != NULL ? found : next_of_device(device, name);
}
