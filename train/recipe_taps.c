// SPDX-License-Identifier: Apache-2.0
/* Which features a loss compares:
 *
 *   taps: [stage1.out, stage2.out]                         # of both models, or of the student
 *   taps: [{student: stage2.out, teacher: stage3.out}]
 *
 * Whether a model has such a tap is known when it is built. */
#include "train/recipe_read.h"

/* `own`: of the student alone. */
static vkd_result read_tap(vkd__reader *r, const vkd__tree *item, const char *what, bool own,
                           vkd__tap_names *out) {
    static const char *const keys[] = {"student", "teacher", NULL};
    if (item->kind == VKD__TREE_TEXT) {
        *out = (vkd__tap_names){item->text, item->text};
        return VKD_OK;
    }
    if (own)
        return vkd__fail(r->ctx, VKD_E_RECIPE,
                         "%s: a tap of %s must be a name: it looks at the student alone",
                         item->where, what);
    if (item->kind != VKD__TREE_MAP)
        return vkd__fail(r->ctx, VKD_E_RECIPE,
                         "%s: a tap of %s must be a name or {student: NAME, teacher: NAME}",
                         item->where, what);
    vkd_result result = vkd__read_keys(r, item, "a tap", keys, NULL, 0);
    if (!result) result = vkd__read_word(r, item, "a tap", "student", NULL, &out->student);
    if (!result) result = vkd__read_word(r, item, "a tap", "teacher", NULL, &out->teacher);
    return result;
}

vkd_result vkd__read_taps(vkd__reader *r, const vkd__tree *map, const char *what,
                          vkd__recipe_loss *loss) {
    const bool on_features = loss->def->needs & VKD__LOSS_TAPS;
    const vkd__tree *list = NULL;
    const vkd_result result = vkd__read_child(r, map, "taps", VKD__TREE_LIST, false, &list);
    if (result) return result;
    const uint32_t count = vkd__tree_count(list);
    if (!on_features && list)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: %s compares logits, it has no key 'taps'",
                         list->where, what);
    if (!on_features) return VKD_OK;
    if (!count)
        return vkd__fail(r->ctx, VKD_E_RECIPE,
                         "%s: %s compares features: name them, as in taps: [NAME] or taps: "
                         "[{student: NAME, teacher: NAME}]",
                         list ? list->where : map->where, what);
    if (count > VKD__MAX_PAIRS)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: %s has %u taps, at most %d can be compared",
                         list->where, what, (unsigned)count, VKD__MAX_PAIRS);
    loss->taps = VKD_NEW(r->arena, vkd__tap_names, count);
    if (!loss->taps) return VKD_E_MEMORY;
    for (const vkd__tree *item = list->first; item; item = item->next) {
        const bool own = loss->def->needs & VKD__LOSS_OWN_TAPS;
        const vkd_result one = read_tap(r, item, what, own, &loss->taps[loss->tap_count++]);
        if (one) return one;
    }
    return VKD_OK;
}
