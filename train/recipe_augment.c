// SPDX-License-Identifier: Apache-2.0
/* The map augment of a stage: what vkd_augment does to each of its images. */
#include "train/recipe_read.h"

static const vkd__field augment_fields[] = {
    {.name = "crop",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd_augment_desc, crop),
     .low = 0,
     .high = 2047,
     .preset = "0",
     .help = "moved by up to so many whole pixels along each axis: padded, and cut out at random"},
    {.name = "pad_mode",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(vkd_augment_desc, pad_mode),
     .preset = "zero",
     .words = "zero|reflect",
     .help =
         "what all that moves pixels shows of the outside: the mean of the data, or reflections"},
    {.name = "flip",
     .type = VKD__FIELD_F32,
     .offset = offsetof(vkd_augment_desc, flip),
     .low = 0,
     .high = 1,
     .preset = "0",
     .help = "probability that left and right are exchanged"},
    {.name = "shift",
     .type = VKD__FIELD_F32,
     .offset = offsetof(vkd_augment_desc, shift),
     .low = 0,
     .high = 1024,
     .preset = "0",
     .help = "moved by up to so many pixels along each axis, fractions of them too"},
    {.name = "rotate",
     .type = VKD__FIELD_F32,
     .offset = offsetof(vkd_augment_desc, rotate),
     .low = 0,
     .high = 180,
     .preset = "0",
     .help = "turned about the middle by up to so many degrees"},
    {.name = "scale",
     .type = VKD__FIELD_F32,
     .offset = offsetof(vkd_augment_desc, scale),
     .low = 0,
     .high = 0.5,
     .preset = "0",
     .help = "magnified by 1 - scale to 1 + scale"},
    {.name = "shear",
     .type = VKD__FIELD_F32,
     .offset = offsetof(vkd_augment_desc, shear),
     .low = 0,
     .high = 1,
     .preset = "0",
     .help = "rows moved by up to so many pixels for each pixel that they are from the middle"},
    {.name = "cutout",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd_augment_desc, cutout),
     .low = 0,
     .high = 4096,
     .preset = "0",
     .help = "side in pixels of a square that becomes the mean of the data"},
    {.name = "brightness",
     .type = VKD__FIELD_F32,
     .offset = offsetof(vkd_augment_desc, brightness),
     .low = 0,
     .high = 16,
     .preset = "0",
     .help = "up to so many standard deviations of the data added or taken away"},
    {.name = "contrast",
     .type = VKD__FIELD_F32,
     .offset = offsetof(vkd_augment_desc, contrast),
     .low = 0,
     .high = 1,
     .preset = "0",
     .help = "multiplied by 1 - contrast to 1 + contrast, about the mean of the data"},
    {.name = "randaugment_ops",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd_augment_desc, randaugment_ops),
     .low = 0,
     .high = 8,
     .preset = "0",
     .help = "so many operations drawn for each image: RandAugment, arXiv:1909.13719"},
    {.name = "randaugment_magnitude",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd_augment_desc, randaugment_magnitude),
     .low = 0,
     .high = 30,
     .preset = "9",
     .help = "of those operations, 30 being the most"},
};
_Static_assert(sizeof(vkd_pad_mode) == sizeof(uint32_t), "fields write enums as uint32_t");

vkd__table vkd__augment_fields(void) {
    return (vkd__table){augment_fields, VKD_COUNT(augment_fields)};
}

static bool changes_images(const vkd_augment_desc *d) {
    return d->crop || d->cutout || d->flip > 0 || d->shift > 0 || d->rotate > 0 || d->scale > 0 ||
           d->shear > 0 || d->brightness > 0 || d->contrast > 0 ||
           (d->randaugment_ops && d->randaugment_magnitude);
}

/* A teacher must see what its student sees (Beyer et al., arXiv:2106.05237), so it is live. */
static vkd_result refuse_caches(vkd__reader *r, const vkd__tree *stage, vkd__recipe_stage *s) {
    const vkd__tree *asked = vkd__tree_find(stage, "teacher_logits");
    if (asked && s->options.teacher_logits == VKD__LOGITS_CACHED)
        return vkd__fail(r->ctx, VKD_E_RECIPE,
                         "%s: stage '%s' augments its images, and cached logits are those of the "
                         "images as they were; leave teacher_logits out, or make it live",
                         asked->where, s->name);
    for (uint32_t k = 0; k < s->teacher_count; k++)
        if (s->teachers[k].cache)
            return vkd__fail(r->ctx, VKD_E_RECIPE,
                             "%s: stage '%s' augments its images, and '%s' has what '%s' said of "
                             "the images as they were; leave the cache out",
                             stage->where, s->name, s->teachers[k].cache,
                             r->recipe->models[s->teachers[k].model].name);
    s->options.teacher_logits = VKD__LOGITS_LIVE;
    return VKD_OK;
}

vkd_result vkd__read_augment(vkd__reader *r, const vkd__tree *stage, vkd__recipe_stage *s) {
    static const char *const keys[] = {NULL};
    const vkd__tree *map = NULL;
    vkd_result result = vkd__read_child(r, stage, "augment", VKD__TREE_MAP, false, &map);
    if (result) return result;
    const char *what = vkd__arena_format(r->arena, "augment of stage '%s'", s->name);
    if (!what) return VKD_E_MEMORY;
    if (map) result = vkd__read_keys(r, map, what, keys, augment_fields, VKD_COUNT(augment_fields));
    if (!result)
        result = vkd__read_fields(r, map, augment_fields, VKD_COUNT(augment_fields), &s->augment);
    s->augmented = changes_images(&s->augment);
    return result || !s->augmented ? result : refuse_caches(r, stage, s);
}
