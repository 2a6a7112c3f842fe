# SPDX-License-Identifier: Apache-2.0
# Compiles shaders/*.comp to SPIR-V, checks it, and embeds it as vkd__kernels. A file's existence
# registers it, under its name without .comp; a line "//! direct -DVKD_DIRECT" in it asks for a variant "<file>.direct" compiled
# with those flags.
find_program(GLSLC glslc REQUIRED)
find_program(SPIRV_VAL spirv-val REQUIRED)

function(vkd_embed_shaders output)
  file(GLOB shaders CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/shaders/*.comp)
  set(folder ${PROJECT_BINARY_DIR}/shaders)
  file(MAKE_DIRECTORY ${folder})
  set(arrays "")
  set(table "")
  set(compiled "")
  foreach(shader IN LISTS shaders)
    get_filename_component(base ${shader} NAME_WLE)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${shader})
    file(STRINGS ${shader} counts REGEX "gl_NumWorkGroups")
    if(counts)
      message(FATAL_ERROR "${shader}: a launch may be a piece of its grid; use GROUPS_X of lib/grid.glsl, not gl_NumWorkGroups")
    endif()
    file(STRINGS ${shader} lines REGEX "^//! ")
    foreach(line IN ITEMS "//! -" ${lines})
      string(REGEX MATCH "^//! ([^ ]+) ?(.*)$" _ "${line}")
      set(variant ${CMAKE_MATCH_1})
      separate_arguments(flags UNIX_COMMAND "${CMAKE_MATCH_2}")
      if(variant STREQUAL "-")
        set(name ${base})
      else()
        set(name ${base}.${variant})
      endif()
      set(spirv ${folder}/${name}.spv)
      set(words ${folder}/${name}.inc)
      add_custom_command(
        OUTPUT ${words}
        COMMAND ${GLSLC} -O --target-env=vulkan1.3 -I ${PROJECT_SOURCE_DIR}/shaders ${flags}
                -MD -MF ${spirv}.d -MT ${words} -o ${spirv} ${shader}
        COMMAND ${SPIRV_VAL} --target-env vulkan1.3 ${spirv}
        COMMAND ${GLSLC} -O --target-env=vulkan1.3 -I ${PROJECT_SOURCE_DIR}/shaders ${flags}
                -mfmt=num -o ${words} ${shader}
        DEPENDS ${shader}
        DEPFILE ${spirv}.d
        COMMENT "shader ${name}"
        VERBATIM)
      list(APPEND compiled ${words})
      string(REPLACE "." "_" symbol ${name})
      string(APPEND arrays "static const uint32_t k_${symbol}[] = {\n#include \"${name}.inc\"\n};\n")
      string(APPEND table "    {\"${name}\", k_${symbol}, sizeof k_${symbol} / sizeof k_${symbol}[0]},\n")
    endforeach()
  endforeach()
  set(source ${folder}/kernels.c)
  file(CONFIGURE OUTPUT ${source} CONTENT
"// Generated from shaders/ by cmake/EmbedShaders.cmake.
#include \"graph/plan.h\"
${arrays}
const vkd__kernel vkd__kernels[] = {
${table}};
const size_t vkd__kernel_count = sizeof vkd__kernels / sizeof vkd__kernels[0];
")
  set_property(SOURCE ${source} APPEND PROPERTY OBJECT_DEPENDS "${compiled}")
  set(${output} ${source} PARENT_SCOPE)
endfunction()
