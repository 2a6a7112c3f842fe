// SPDX-License-Identifier: Apache-2.0
/* The viewer's colours, 0xRRGGBBAA. The teacher is always amber, the student blue, the control
 * grey-green; these stay apart for eyes that confuse red and green. */
#ifndef VKD_VIEWER_COLOURS_H
#define VKD_VIEWER_COLOURS_H

#define COLOUR_GROUND 0x14161bffu
#define COLOUR_PANEL 0x1c1f26ffu
#define COLOUR_POPUP 0x262a33ffu
#define COLOUR_LINE 0x3a404cffu
#define COLOUR_GRID 0x2b303affu
#define COLOUR_FIELD 0x2d323dffu
#define COLOUR_FIELD_HOVER 0x3d4452ffu
#define COLOUR_TEXT 0xdfe3eaffu
#define COLOUR_MUTED 0x8d95a3ffu
#define COLOUR_ACCENT 0x6c9ef8ffu
#define COLOUR_TEACHER 0xf2a93bffu
#define COLOUR_STUDENT 0x4fa8e8ffu
#define COLOUR_CONTROL 0x8fb8a0ffu
#define COLOUR_GOOD 0x62c07fffu
#define COLOUR_BAD 0xe8685fffu

#endif
