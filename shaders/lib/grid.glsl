// SPDX-License-Identifier: Apache-2.0
// The groups of the whole grid. Kernels stride by them, so a launch may be a piece of the grid
// (vkCmdDispatchBase, graph/plan_split.c), whose own count gl_NumWorkGroups gives; the planner then
// sets these constants. Use nothing else to stride.
#ifndef VKD_GRID_GLSL
#define VKD_GRID_GLSL
layout(constant_id = 30) const uint GRID_X = 0;
layout(constant_id = 31) const uint GRID_Y = 0;
layout(constant_id = 32) const uint GRID_Z = 0;
#define GROUPS_X (GRID_X != 0u ? GRID_X : gl_NumWorkGroups.x)
#define GROUPS_Y (GRID_Y != 0u ? GRID_Y : gl_NumWorkGroups.y)
#define GROUPS_Z (GRID_Z != 0u ? GRID_Z : gl_NumWorkGroups.z)
#endif
