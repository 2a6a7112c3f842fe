// SPDX-License-Identifier: Apache-2.0
/* Claims about the table of devices: what a profile starts from on every kind of device, as their
 * drivers report them, and what may be tried there. No device is opened. */
#include "support/gpu.h"
#include "support/support.h"

static void a_profile_stays_inside_the_limits(void **state) {
    (void)state;
    const VkPhysicalDeviceType types[] = {
        VK_PHYSICAL_DEVICE_TYPE_CPU, VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU,
        VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU, VK_PHYSICAL_DEVICE_TYPE_OTHER};
    const uint32_t vendors[] = {0x10de, 0x1002, 0x8086, 0x1234};
    for (size_t i = 0; i < VKD_COUNT(types) * VKD_COUNT(vendors); i++) {
        const vkd__probe p =
            test_probe("any", types[i / VKD_COUNT(vendors)], vendors[i % VKD_COUNT(vendors)]);
        vkd_profile profile;
        vkd__profile_make(&p, NULL, false, &profile);
        for (int c = 0; c < VKD__MATMUL_CLASSES; c++) {
            const vkd__tile *t = &profile.tile[c];
            /* The kernel moves quads: a side of two would leave its tile uncomputed. */
            const uint16_t sizes[] = {t->m, t->n, t->k, t->tm, t->tn};
            for (size_t k = 0; k < VKD_COUNT(sizes); k++) {
                assert_true(sizes[k] > 0);
                assert_int_equal(sizes[k] % 4, 0);
            }
            assert_true(vkd__tile_fits(t, 256, 32768));
        }
        assert_in_range(profile.row_workgroup, 1, 256);
        assert_int_equal(profile.row_workgroup & (profile.row_workgroup - 1), 0);
        assert_in_range(profile.flat_workgroup, 1, 256);
        assert_int_equal(profile.max_binding, 1u << 27);
        assert_int_equal(profile.max_texels, 1u << 16);
        assert_int_equal(profile.max_allocation, 1u << 30);
    }
}

/* Devices as their drivers report them: what the table must be decent for without any tuning. */
typedef struct kind {
    const char *name;
    uint32_t vendor;
    VkPhysicalDeviceType type;
    uint32_t shared, subgroup_min, subgroup_max;
    uint64_t binding, allocation;
    double low, high; /* GFLOP/s that these kernels may reach there, very roughly */
    bool direct;
    uint32_t subgroups; /* of a workgroup, where kernels ask for a subgroup size: direct ones do */
} kind;

static const kind kinds[] = {
#define DISCRETE VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU
#define INTEGRATED VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU
#define CPU VK_PHYSICAL_DEVICE_TYPE_CPU
#define MOST UINT32_MAX /* bytes of a binding */
    {"RX 9070 XT", 0x1002, DISCRETE, 32768, 32, 64, MOST, 1ull << 31, 1000, 30000, false, 0},
    {"RX 9070 XT (RADV)", 0x1002, DISCRETE, 65536, 32, 64, MOST, 4294967292, 1000, 30000, false, 0},
    {"RX 5700", 0x1002, DISCRETE, 32768, 32, 64, MOST, 1ull << 31, 1000, 9000, false, 0},
    {"RX 570", 0x1002, DISCRETE, 65536, 64, 64, MOST, 4294967292, 1000, 5000, false, 0},
    {"Radeon Vega 8", 0x1002, INTEGRATED, 65536, 64, 64, MOST, 4294967292, 500, 2000, false, 0},
    {"Radeon 890M", 0x1002, INTEGRATED, 65536, 32, 64, MOST, 4294967292, 500, 5000, false, 0},
    {"RTX 5090", 0x10de, DISCRETE, 49152, 32, 32, MOST, 1ull << 40, 1000, 90000, false, 0},
    {"GTX 1650", 0x10de, DISCRETE, 49152, 32, 32, MOST, 1ull << 40, 500, 5000, false, 0},
    {"GTX 1060", 0x10de, DISCRETE, 49152, 32, 32, MOST, 1ull << 32, 500, 5000, false, 0},
    {"Arc B580", 0x8086, DISCRETE, 49152, 16, 32, (1u << 30) - 4, 1ull << 32, 1000, 12000, false,
     0},
    {"Arc A770", 0x8086, DISCRETE, 49152, 8, 32, MOST, 1ull << 32, 1000, 15000, false, 0},
    {"Arc A770 (Windows)", 0x8086, DISCRETE, 49152, 8, 32, (1u << 30) - 4, 4294901760, 1000, 15000,
     false, 0},
    {"Iris Xe", 0x8086, INTEGRATED, 49152, 8, 32, MOST, 1ull << 32, 100, 2000, false, 0},
    {"HD 620", 0x8086, INTEGRATED, 49152, 8, 32, MOST, 1ull << 32, 100, 500, false, 0},
    {"UHD 750", 0x8086, INTEGRATED, 32768, 8, 32, (1u << 30) - 4, 4294901760, 100, 800, false, 0},
    {"Apple M1", 0x106b, INTEGRATED, 32768, 4, 32, MOST, 1ull << 33, 500, 2600, false, 0},
    {"Apple M1 (KosmicKrisp)", 0x106b, INTEGRATED, 32768, 32, 32, MOST, 1ull << 31, 500, 2600,
     false, 0},
    {"llvmpipe", 0x10005, CPU, 32768, 8, 8, 1u << 27, 1ull << 31, 10, 200, true, 32},
    {"llvmpipe with tile kernels", 0x10005, CPU, 32768, 8, 8, 1u << 27, 1ull << 31, 10, 200, false,
     0},
    {"SwiftShader", 0x1ae0, CPU, 32768, 4, 4, 1u << 30, 1u << 30, 10, 200, true, 64},
    {"of another maker", 0x5143, DISCRETE, 32768, 16, 128, 1u << 27, 1u << 30, 300, 4000, false, 0},
    {"a phone's", 0x13b5, INTEGRATED, 32768, 16, 16, 1u << 27, 1u << 30, 100, 2000, false, 0},
#undef MOST
#undef CPU
};

static vkd_profile profile_of(const kind *k) {
    vkd__probe p = test_probe(k->name, k->type, k->vendor);
    p.limits.maxComputeSharedMemorySize = k->shared;
    p.limits.maxComputeWorkGroupInvocations = 1024;
    p.limits.maxStorageBufferRange = (uint32_t)k->binding;
    p.max_allocation = k->allocation;
    p.subgroup_min = k->subgroup_min;
    p.subgroup = p.subgroup_max = k->subgroup_max;
    vkd_profile profile;
    vkd__profile_make(&p, NULL, k->direct, &profile);
    return profile;
}

static void look_at_rates(const kind *k, const vkd_profile *p) {
    if (p->gflops < k->low || p->gflops > k->high) fail_msg("%s: %g GFLOP/s", k->name, p->gflops);
    /* Bytes for a multiply-add: between a card's and a processor's. */
    assert_true(p->gflops / p->gbytes >= 2 && p->gflops / p->gbytes <= 40);
    assert_true(p->launch_seconds >= 1e-6 && p->launch_seconds <= 50e-6);
}

static void look_at_workgroups(const kind *k, const vkd_profile *p) {
    const bool cpu = k->type == VK_PHYSICAL_DEVICE_TYPE_CPU;
    const uint32_t sizes[] = {p->flat_workgroup, p->column_workgroup, p->row_workgroup,
                              p->short_workgroup, p->reduce_workgroup};
    for (size_t i = 0; i < VKD_COUNT(sizes); i++) {
        /* Whole subgroups, more than one on a GPU to hide memory's delay, and few enough that
         * several workgroups share a core. */
        assert_int_equal(sizes[i] % k->subgroup_max, 0);
        assert_in_range(sizes[i], cpu ? 32 : 128, cpu ? 128 : 256);
    }
}

static bool is_gcn(const kind *k) {
    return k->vendor == 0x1002 && k->subgroup_min == 64;
}

/* Of tiles: whole subgroups, at least 64 invocations, so that barriers do not leave a core idle,
 * and no more than the 256 that every device runs; two workgroups in the shared memory of any; 4x4
 * of C for an invocation, the least that multiplies twice as often as it reads, and no more than
 * 8x8, 128 registers with all else, of which GCN and integrated devices have too few. On GCN four
 * waves a SIMD, so that one computes while others wait: 64 registers and 4 KiB each. */
static void look_at_tiles(const kind *k, const vkd_profile *p) {
    const uint32_t most = is_gcn(k) ? 16 : k->type == INTEGRATED ? 32 : 64;
    for (int c = 0; c < VKD__MATMUL_CLASSES; c++) {
        const vkd__tile *t = &p->tile[c];
        const uint32_t invocations = (uint32_t)(t->m / t->tm) * (t->n / t->tn);
        if (!vkd__tile_fits(t, 256, c == VKD__MATMUL_LARGE ? 24576 : 16384))
            fail_msg("%s: tile %ux%ux%u does not fit", k->name, t->m, t->n, t->k);
        if (invocations % 64 || invocations < 64 || t->tm < 4 || t->tn < 4 ||
            (uint32_t)(t->tm * t->tn) > most || !vkd__tile_suits(p, t))
            fail_msg("%s: %ux%u of a tile of %ux%u", k->name, t->tm, t->tn, t->m, t->n);
    }
    const vkd__tile *large = &p->tile[VKD__MATMUL_LARGE], *small = &p->tile[VKD__MATMUL_SMALL];
    assert_true(large->m * large->n >= small->m * small->n);
    if (k->type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU) assert_true(large->m * large->n >= 4096);
}

/* A product is large where its large tiles fill the device, and only there. */
static void look_at_classes(const kind *k, const vkd_profile *p) {
    const vkd__tile *large = &p->tile[VKD__MATMUL_LARGE];
    for (uint32_t size = 64; size <= 4096; size *= 2) {
        const uint64_t tiles = vkd__div_up(size, large->m) * vkd__div_up(size, large->n);
        const vkd__matmul_class class = vkd__matmul_classify(p, size, size, 1);
        if (class == VKD__MATMUL_LARGE && tiles < p->fill_groups)
            fail_msg("%s: %u x %u are %u large tiles, and it takes %u", k->name, size, size,
                     (unsigned)tiles, p->fill_groups);
        assert_true(class != VKD__MATMUL_NARROW);
    }
    assert_int_equal(vkd__matmul_classify(p, 4096, 4096, 1), VKD__MATMUL_LARGE);
    assert_int_equal(vkd__matmul_classify(p, 128, 128, 1), VKD__MATMUL_SMALL);
    assert_int_equal(vkd__matmul_classify(p, 128, 128, 1024), VKD__MATMUL_LARGE);
    assert_int_equal(vkd__matmul_classify(p, 32, 1 << 20, 64), VKD__MATMUL_NARROW);
}

/* What the tuner may try there: no more than 256 invocations, nor more subgroups than
 * maxComputeWorkgroupSubgroups where a size is asked for. */
static void look_at_candidates(const kind *k, const vkd_profile *table) {
    for (size_t i = 0; i < vkd__knob_count; i++) {
        for (uint32_t c = 0; c < vkd__knobs[i].count; c++) {
            vkd_profile p = *table;
            if (!vkd__knobs[i].set(&p, c)) continue;
            const uint32_t asked = k->subgroups * k->subgroup_max;
            const uint32_t most = p.direct && asked < 256 ? asked : 256;
            const uint32_t sizes[] = {p.flat_workgroup, p.column_workgroup, p.row_workgroup,
                                      p.short_workgroup, p.reduce_workgroup};
            for (size_t n = 0; n < VKD_COUNT(sizes); n++)
                if (sizes[n] > most)
                    fail_msg("%s: '%s' may be %u", k->name, vkd__knobs[i].name, sizes[n]);
            for (int n = 0; n < VKD__MATMUL_CLASSES; n++)
                if (!vkd__tile_fits(&p.tile[n], 256, k->shared) ||
                    (is_gcn(k) && p.tile[n].tm * p.tile[n].tn > 16))
                    fail_msg("%s: candidate %u of '%s' does not fit", k->name, c,
                             vkd__knobs[i].name);
        }
    }
}

static void every_kind_of_device_starts_with_decent_sizes(void **state) {
    (void)state;
    for (size_t i = 0; i < VKD_COUNT(kinds); i++) {
        const vkd_profile p = profile_of(&kinds[i]);
        look_at_rates(&kinds[i], &p);
        look_at_workgroups(&kinds[i], &p);
        look_at_tiles(&kinds[i], &p);
        look_at_classes(&kinds[i], &p);
        look_at_candidates(&kinds[i], &p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_profile_stays_inside_the_limits),
        cmocka_unit_test(every_kind_of_device_starts_with_decent_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
