// SPDX-License-Identifier: Apache-2.0
#include "support/support.h"

#include "base/philox.h"

/* Known answers published with the authors' library Random123 (philox4x32, 10 rounds). */
static void philox_gives_the_published_numbers(void **state) {
    (void)state;
    const vkd__philox zero = vkd__philox_at(0, 0, 0, 0);
    const uint32_t want[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    for (int i = 0; i < 4; i++)
        assert_int_equal(zero.v[i], want[i]);
}

static void streams_differ_by_name(void **state) {
    (void)state;
    assert_int_not_equal(vkd__philox_stream("fc0.weight"), vkd__philox_stream("fc1.weight"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(streams_differ_by_name),
    };
    return cmocka_run_group_tests_name("philox", tests, NULL, NULL);
}
