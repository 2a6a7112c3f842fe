// SPDX-License-Identifier: Apache-2.0
/* The floor that knows Vulkan: it opens a device and executes plans. It knows no op, no loss and no
 * model.
 *   instance.c        loader, instance, validation
 *   device.c          choice and logical device
 *   probe.c           what a driver reports; the baseline
 *   coopmat.c         the same of cooperative matrices
 *   features.c        what is used, and kill switches
 *   profile.c         limits to a planner's profile
 *   report.c          all of this in words, for `vkdistill doctor`
 *   memory.c          buffers and the memory budget
 *   transfer.c        one-time commands, uploads, downloads
 *   reflect.c         what a kernel declares
 *   pipeline.c        kernels to pipelines, each made once
 *   pipeline_cache.c  the driver's cache on disk
 *   statistics.c      what the driver's compiler says of a pipeline
 *   store_backend.c   the store's tensors on the device
 *   program.c         the life of a step; bind.c descriptors; record.c command buffers
 *   fault.c           a lost device in the driver's words
 *   pace.c            slices by measured time
 *   timing.c          timestamps around launches
 *   shadow.c          the step node by node beside the references */
#ifndef VKD_GPU_H
#define VKD_GPU_H

#include <volk.h>

#include "base/base.h"
#include "gpu/report.h"
#include "graph/plan.h"

/* The largest minimum offset alignment that the specification lets a device ask for; all places of
 * the planner and the store are multiples of it. */
#define VKD__ALIGNMENT 256u

/* ---- Probes -----------------------------------------------------------------------------------
 */

/* What a physical device reports, copied out so that decisions can be tested without a device. */
typedef struct vkd__probe {
    char name[VK_MAX_PHYSICAL_DEVICE_NAME_SIZE];
    char driver[VK_MAX_DRIVER_NAME_SIZE], driver_info[VK_MAX_DRIVER_INFO_SIZE];
    uint32_t vendor, api_version, driver_version;
    VkPhysicalDeviceType type;
    uint8_t uuid[VK_UUID_SIZE];
    VkPhysicalDeviceLimits limits;
    uint64_t max_allocation, max_buffer;
    uint32_t subgroup, subgroup_min, subgroup_max;
    bool subgroup_pin; /* a compute stage may ask for a subgroup size */
    bool shuffle;      /* shuffles in compute */
    bool synchronization2, timeline, maintenance4, size_control, full_subgroups, query_reset;
    bool f16, bda, memory_budget, device_fault, memory_model;
    bool coopmat, coopmat_bf16; /* in compute, and of bf16 */
    vkd__coop coop;             /* the matrices that are best for us; no subgroup, no tiles */
    bool statistics;            /* VK_KHR_pipeline_executable_properties */
    bool compute_queue;
    uint32_t family, timestamp_bits;
    VkPhysicalDeviceMemoryProperties memory;
} vkd__probe;

/* Fills the probe of one physical device through volk's instance functions. */
vkd_result vkd__probe_device(vkd_ctx *ctx, VkPhysicalDevice physical, vkd__probe *out);
/* What of the baseline the device lacks, in words; NULL when it has all. */
const char *vkd__probe_missing(const vkd__probe *p);
/* Decides what is used. disabled is VKD_DISABLE ("f16,cache"), kernels VKD_KERNELS; both may be
 * NULL. Errors: VKD_E_ARGUMENT for unknown words, or kernels that the device cannot run. */
vkd_result vkd__probe_features(vkd_ctx *ctx, const vkd__probe *p, const char *disabled,
                               const char *kernels, vkd__feature *features, bool *direct);
/* features: as decided; NULL: without cooperative matrices. */
void vkd__profile_make(const vkd__probe *p, const vkd__feature *features, bool direct,
                       vkd_profile *out);
/* Gives the profile the device's matrices, and tiles of them. false, and nothing given: no tile of
 * the kernel fits. */
bool vkd__profile_coopmat(const vkd__probe *p, bool f16, bool bf16, vkd_profile *out);
const char *vkd__device_type_text(VkPhysicalDeviceType type);
/* The index of the device that the words ask for (NULL: the best), or VKD__NO_ENTRY. */
uint32_t vkd__probe_choose(const vkd__probe *probes, uint32_t count, const char *choice);

/* ---- Cooperative matrices -------------------------------------------------------------------- */

/* One line of what a device multiplies: (m,k) by (k,n). */
typedef struct vkd__coop_row {
    uint32_t m, n, k;
    vkd_dtype operands;      /* both; VKD_I32: others than f16 and bf16 */
    bool f32_sums, subgroup; /* which a subgroup holds */
} vkd__coop_row;

/* The largest matrices that the kernel can work with. out->m is 0 where there are none. */
void vkd__coop_pick(const vkd__coop_row *rows, uint32_t count, vkd__coop *out);
/* Whether this build can use them: glslc and the Vulkan headers know the extension. */
bool vkd__coopmat_built(void);
/* Fills the part of the probe, whose `coopmat` and `coopmat_bf16` say what extensions there are. */
vkd_result vkd__probe_coopmat(vkd_ctx *ctx, VkPhysicalDevice physical, vkd__probe *out);

/* Structures that must live until the device is made. */
typedef struct vkd__coopmat_features {
#ifdef VK_KHR_cooperative_matrix
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix;
#endif
#ifdef VK_KHR_shader_bfloat16
    VkPhysicalDeviceShaderBfloat16FeaturesKHR bf16;
#endif
    bool none; /* C has no empty struct, which older headers would leave */
} vkd__coopmat_features;
/* Puts what the device's features ask for in front of a chain, and appends extensions. */
const void *vkd__coopmat_enable(const vkd_device *d, vkd__coopmat_features *f, const void *next,
                                const char **extensions, uint32_t *count);

/* ---- Memory -----------------------------------------------------------------------------------
 */

typedef enum vkd__memory_kind {
    VKD__MEMORY_DEVICE,  /* where kernels work */
    VKD__MEMORY_UPLOAD,  /* host writes, device reads; mapped */
    VKD__MEMORY_READBACK /* device writes, host reads; mapped */
} vkd__memory_kind;

typedef struct vkd__buffer {
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint64_t size;
    uint32_t heap;
    uint8_t *mapped;
} vkd__buffer;

/* `what` names it in the error: "the program 'train'". */
vkd_result vkd__buffer_create(vkd_device *d, uint64_t size, vkd__memory_kind kind, const char *what,
                              vkd__buffer *out);
void vkd__buffer_destroy(vkd_device *d, vkd__buffer *b);
/* Whether that much more fits on the device, before anything is made. Errors: VKD_E_DEVICE_MEMORY.
 */
vkd_result vkd__memory_require(vkd_device *d, uint64_t bytes, const char *what);

/* ---- One-time commands and transfers; all of them wait for the device -------------------------
 */

/* Opens the device's own command buffer; what is recorded follows all earlier submissions. */
vkd_result vkd__once_begin(vkd_device *d, VkCommandBuffer *out);
vkd_result vkd__once_end(vkd_device *d);
vkd_result vkd__zero(vkd_device *d, const vkd__buffer *b);
/* Makes d->zeros, once. */
vkd_result vkd__need_zeros(vkd_device *d);
vkd_result vkd__upload(vkd_device *d, VkBuffer to, uint64_t offset, const void *data,
                       uint64_t bytes);
vkd_result vkd__download(vkd_device *d, VkBuffer from, uint64_t offset, void *data, uint64_t bytes);
/* Orders everything before against everything after. */
void vkd__barrier(vkd_device *d, VkCommandBuffer cb, VkPipelineStageFlags2 from,
                  VkAccessFlags2 from_access, VkPipelineStageFlags2 to, VkAccessFlags2 to_access);

/* ---- Kernels ----------------------------------------------------------------------------------
 */

typedef enum vkd__slot_kind {
    VKD__SLOT_NONE, /* the kernel does not use this number */
    VKD__SLOT_BUFFER,
    VKD__SLOT_TEXEL_FLOAT,
    VKD__SLOT_TEXEL_INT,
    VKD__SLOT_TEXEL_UINT
} vkd__slot_kind;

typedef struct vkd__reflection {
    uint32_t binding_count; /* the highest number used, plus one */
    vkd__slot_kind binding[VKD__MAX_BINDINGS];
    uint32_t push_bytes;
    uint32_t spec_count;
    uint32_t spec_id[VKD__MAX_SPEC];
    bool coopmat; /* it takes cooperative matrices */
} vkd__reflection;

/* Reads SPIR-V. Errors: VKD_E_ARGUMENT naming the kernel and what about it is not supported. */
vkd_result vkd__reflect(vkd_ctx *ctx, const vkd__kernel *kernel, vkd__reflection *out);
/* Whether a launch gives the kernel what it declares. Errors: VKD_E_ARGUMENT naming both. */
vkd_result vkd__reflect_check(vkd_ctx *ctx, const vkd__reflection *r, const vkd__launch *launch);

/* One kernel of the table, made at first use. */
typedef struct vkd__kernel_object {
    bool made;
    vkd__reflection reflection;
    VkShaderModule module;
    VkDescriptorSetLayout set_layout;
    VkPipelineLayout layout;
} vkd__kernel_object;

typedef struct vkd__pipeline {
    VkPipeline pipeline;
    const vkd__kernel_object *kernel;
    uint32_t kernel_index;
    uint32_t spec[VKD__MAX_SPEC]; /* in the order of the kernel's spec ids */
    uint32_t spec_set;            /* bit i: spec[i] is given; else the shader's default holds */
} vkd__pipeline;

/* The pipeline of a launch, shared by all launches of equal kernel and constants. */
vkd_result vkd__pipeline_get(vkd_device *d, const vkd__launch *launch, vkd__pipeline *out);
void vkd__pipelines_destroy(vkd_device *d);

/* One figure of a pipeline, as its driver names it: "VGPRs", "Spilled SGPRs", "Code size". */
typedef struct vkd__statistic {
    char name[VK_MAX_DESCRIPTION_SIZE];
    double value;
} vkd__statistic;
/* Of a device that was opened for statistics. *count: room in `out`, then how many there are.
 * Errors: VKD_E_ARGUMENT when the device was not opened so, or there is no room for all. */
vkd_result vkd__pipeline_statistics(vkd_device *d, const vkd__pipeline *p, vkd__statistic *out,
                                    uint32_t *count);
/* The driver's last text form of the pipeline, its machine code where it has such a form; the
 * caller frees it with vkd_free_text. Errors: as above; VKD_E_MEMORY. */
vkd_result vkd__pipeline_code(vkd_device *d, const vkd__pipeline *p, char **text);

uint64_t vkd__shaders_hash(void);
/* Opens the driver's cache, from the file when there is a good one. dir as in vkd_device_desc. */
vkd_result vkd__cache_open(vkd_device *d, const char *dir);
/* Writes it when it has changed, and destroys it. */
void vkd__cache_close(vkd_device *d);

/* ---- Device -----------------------------------------------------------------------------------
 */

/* What the validation layers said. */
typedef struct vkd__messages {
    vkd_ctx *ctx;
    uint32_t count;
} vkd__messages;

struct vkd_device {
    vkd_ctx *ctx;
    bool validated;  /* the validation layers look on */
    bool statistics; /* pipelines are made so that vkd__pipeline_statistics can be asked */
    bool code;       /* and vkd__pipeline_code, which makes them slower to make */
    VkInstance instance;
    VkDebugUtilsMessengerEXT messenger;
    vkd__messages messages;
    VkPhysicalDevice physical;
    vkd__probe probe;
    vkd__feature features[VKD__FEATURE_COUNT];
    vkd_profile table, profile; /* as the table of devices has it; with the sizes chosen since */
    VkDevice device;
    struct VolkDeviceTable vk;
    VkQueue queue;
    bool lost;
    uint64_t allocated[VK_MAX_MEMORY_HEAPS];

    VkCommandPool pool;
    VkCommandBuffer once;
    VkFence fence;
    vkd__buffer staging; /* host side of uploads and downloads; grows */
    vkd__buffer zeros;   /* what an absent input reads */

    vkd__kernel_object *kernels; /* one for each of vkd__kernels */
    vkd__pipeline *pipelines;
    size_t pipeline_count, pipeline_capacity;
    VkPipelineCache cache;
    char *cache_path; /* NULL: none on disk */
    uint64_t cache_hash;
    struct vkd__store_side *stores;
};

/* Translates a result; on failure the message names the call ("vkCreateBuffer(...)" up to the
 * bracket) and the result. Marks a lost device. */
vkd_result vkd__vk(vkd_device *d, VkResult r, const char *call);
#define VKD__VK(d, call) vkd__vk((d), (d)->vk.call, #call)
const char *vkd__vk_text(VkResult r);

/* Appends what the driver says of the loss; nothing where it cannot. */
void vkd__fault_words(vkd_device *d, vkd__text *out);

vkd_result vkd__device_idle(vkd_device *d);
/* vkd_device_open, whose pipelines keep what the driver's compiler says of them, and their code.
 * Errors: VKD_E_NO_DEVICE also where the driver says nothing. */
vkd_result vkd__device_open_for_statistics(vkd_ctx *ctx, const vkd_device_desc *desc, bool code,
                                           vkd_device **out);

/* ---- Store ------------------------------------------------------------------------------------
 */

/* Places the store's tensors on the device; places new ones when called again. */
vkd_result vkd__store_place(vkd_device *d, vkd_store *store);
/* Where an entry's storage lies. */
VkBuffer vkd__store_buffer(const vkd_store *store, uint32_t entry, uint64_t *offset);
/* The device goes away while stores point at it. */
void vkd__stores_detach(vkd_device *d);

/* ---- Program ----------------------------------------------------------------------------------
 */

typedef struct vkd__io {
    const char *name;
    vkd_dtype dtype;
    uint64_t bytes, count;
    uint64_t offset;   /* in its block */
    vkd__place source; /* output */
    bool constant, is_step;
    bool large;   /* input: copied on its own, and only after the host has asked for it */
    bool changed; /* large: since the last step */
} vkd__io;

typedef struct vkd__run {
    uint64_t offset, bytes;
} vkd__run;

/* Views of one buffer range, shared by launches. */
typedef struct vkd__view {
    VkBuffer buffer;
    uint64_t offset, bytes;
    vkd__slot_kind kind;
    VkBufferView view;
} vkd__view;

typedef struct vkd__timing vkd__timing;
typedef struct vkd__pace vkd__pace;

struct vkd_program {
    vkd_ctx *ctx;
    vkd_device *device;
    vkd_store *store;
    const vkd_graph *graph; /* retained, for shadow mode */
    vkd__arena memory;      /* names, launches, tables */
    const char *name;

    vkd__launch *launches;
    size_t launch_count;
    vkd__pipeline *pipelines; /* by launch */
    VkDescriptorSet *sets;    /* by launch */
    uint32_t slice_count;     /* at least 1 */
    vkd__io *inputs, *outputs;
    uint32_t input_count, output_count, large_count;
    vkd__run *small; /* runs of the input block copied each step */
    uint32_t small_count;
    vkd__place *places; /* by graph tensor */
    uint32_t tensor_count;

    vkd__buffer *arenas;
    uint32_t arena_count;
    vkd__buffer input_block;
    vkd__buffer upload;   /* VKD_PROGRAM_RING input blocks */
    vkd__buffer readback; /* VKD_PROGRAM_RING output blocks */
    uint64_t input_bytes, output_bytes;
    uint8_t *master; /* the inputs as the host last wrote them */

    VkDescriptorPool set_pool;
    vkd__view *views;
    size_t view_count, view_capacity;
    VkCommandPool pool;
    VkCommandBuffer prologue[VKD_PROGRAM_RING], epilogue[VKD_PROGRAM_RING];
    VkCommandBuffer *large; /* [slot * large_count + i] */
    VkCommandBuffer *slices;
    VkCommandBufferSubmitInfo *submit_buffers; /* room for one step */
    VkSemaphoreSubmitInfo *submit_signals;     /* by slice */
    VkSubmitInfo2 *submits;                    /* by slice */

    VkSemaphore timeline; /* each slice adds one; ticket t is done at vkd__program_value */
    uint64_t value_base, ticket_base; /* the value and the ticket when the step was last cut */
    uint64_t submitted, done;
    int32_t step;
    bool check;           /* VKD_CHECK=1 */
    vkd__pace *pace;      /* while a step is measured */
    uint64_t pace_ticket; /* that step */
    uint32_t measurements;
    vkd__timing *timing;   /* NULL while off */
    vkd_profile_row *rows; /* by launch; NULL until profiling was asked for */
    char *nonfinite;       /* vkd_program_find_nonfinite's answer */
};

/* The buffer and offset of a place. */
VkBuffer vkd__program_buffer(const vkd_program *p, vkd__space space, uint32_t index,
                             uint64_t *offset);
/* Pipelines, views and descriptor sets for all launches. */
vkd_result vkd__program_bind(vkd_program *p);
/* Copies, prologues, slices and epilogues. */
vkd_result vkd__program_record(vkd_program *p);
void vkd__record_launch(const vkd_program *p, VkCommandBuffer cb, size_t launch);
vkd_result vkd__command_begin(vkd_device *d, VkCommandBuffer cb, VkCommandBufferUsageFlags flags);
/* The barrier that the step's kernels wait for behind the copies of inputs. */
void vkd__record_inputs_ready(vkd_device *d, VkCommandBuffer cb);
/* Readies a ring slot: waits until it is free and writes the inputs into it. */
vkd_result vkd__program_stage(vkd_program *p, uint64_t ticket, int32_t step);
/* Submits the step of a staged ticket, with these command buffers for the slices. */
vkd_result vkd__program_send(vkd_program *p, uint64_t ticket, const VkCommandBuffer *slices);
/* The timeline's value when that step is done; and a wait for any value. */
uint64_t vkd__program_value(const vkd_program *p, uint64_t ticket);
vkd_result vkd__program_wait_value(vkd_program *p, uint64_t value);
/* Records slices and what a submit needs again, after the launches' slices have changed and the
 * old command buffers were freed. Nothing may be under way. */
vkd_result vkd__program_recut(vkd_program *p);
/* Arrays of one entry for each slice and command buffer, for submits (program.c). */
vkd_result vkd__program_make_submits(vkd_program *p);
vkd_result vkd__record_allocate(vkd_program *p, VkCommandBuffer *buffers, uint32_t count);
/* With queries, also writes the timestamps 2 * slice and 2 * slice + 1 around it. */
vkd_result vkd__record_slice(const vkd_program *p, VkCommandBuffer cb, uint32_t slice,
                             VkQueryPool queries);

/* Before a step is sent: which slices to send. Cuts the step anew if the last measurement says so.
 */
vkd_result vkd__pace_before(vkd_program *p, uint64_t ticket, const VkCommandBuffer **slices);
/* After it: without timestamps, the host's waits are the measurement. */
vkd_result vkd__pace_after(vkd_program *p);
/* Takes the seconds of each slice as a measurement. */
vkd_result vkd__pace_apply(vkd_program *p, const double *measured);
void vkd__pace_destroy(vkd_program *p);

/* Reports a lost device: which slice was at work, and its kernels. */
vkd_result vkd__program_lost(vkd_program *p, uint64_t reached);

vkd_result vkd__timing_collect(vkd_program *p);
const VkCommandBuffer *vkd__timing_slices(const vkd_program *p);
void vkd__timing_destroy(vkd_program *p);

/* One step, node by node, each compared with its op's reference. */
vkd_result vkd__shadow_step(vkd_program *p, uint64_t ticket);

#endif
