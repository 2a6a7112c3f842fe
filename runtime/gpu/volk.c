// SPDX-License-Identifier: Apache-2.0
/* The one place where volk's own code is compiled. It opens the loader at run time, so that a
 * machine without one gets a message instead of a program that does not start. */
#define VOLK_IMPLEMENTATION
#include <volk.h>
