# SPDX-License-Identifier: Apache-2.0
# Compiles shaders/*.comp to SPIR-V, checks it, and embeds it as vkd__kernels. A file's existence
# registers it, under its name without .comp. Lines in it say more:
#   //! direct -DVKD_DIRECT           asks for a variant "<file>.direct", compiled with those flags
#   //? GL_KHR_cooperative_matrix     the file is left out where glslc does not know that extension
#   //! bf16 -DVKD_BF16 ?GL_EXT_x     and so is this variant
find_program(GLSLC glslc REQUIRED)
find_program(SPIRV_VAL spirv-val REQUIRED)
set(VKD_SHADER_FOLDER ${PROJECT_BINARY_DIR}/shaders)
file(MAKE_DIRECTORY ${VKD_SHADER_FOLDER})

# Whether glslc knows a GLSL extension: it compiles a file that requires it.
function(vkd_glslc_knows extension output)
  if(NOT DEFINED VKD_KNOWS_${extension})
    set(probe ${VKD_SHADER_FOLDER}/probe.comp)
    file(WRITE ${probe} "#version 450\n#extension ${extension} : require\nvoid main() {}\n")
    execute_process(COMMAND ${GLSLC} --target-env=vulkan1.3 -o ${probe}.spv ${probe}
      RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
    if(failed)
      set(knows OFF)
      message(STATUS "${GLSLC} does not know ${extension}: kernels that need it are left out")
    else()
      set(knows ON)
    endif()
    set(VKD_KNOWS_${extension} ${knows} CACHE INTERNAL "")
  endif()
  set(${output} ${VKD_KNOWS_${extension}} PARENT_SCOPE)
endfunction()

# Makes <name>.inc, the words of a shader compiled with flags.
function(vkd_compile_shader name shader)
  set(spirv ${VKD_SHADER_FOLDER}/${name}.spv)
  set(words ${VKD_SHADER_FOLDER}/${name}.inc)
  add_custom_command(
    OUTPUT ${words}
    COMMAND ${GLSLC} -O --target-env=vulkan1.3 -I ${PROJECT_SOURCE_DIR}/shaders ${ARGN}
            -MD -MF ${spirv}.d -MT ${words} -o ${spirv} ${shader}
    COMMAND ${SPIRV_VAL} --target-env vulkan1.3 ${spirv}
    COMMAND ${GLSLC} -O --target-env=vulkan1.3 -I ${PROJECT_SOURCE_DIR}/shaders ${ARGN}
            -mfmt=num -o ${words} ${shader}
    DEPENDS ${shader}
    DEPFILE ${spirv}.d
    COMMENT "shader ${name}"
    VERBATIM)
endfunction()

# Writes the table of kernels, each "name" or "name=the .inc that it is".
function(vkd_kernel_table source)
  set(arrays "")
  set(table "")
  set(compiled "")
  foreach(entry IN LISTS ARGN)
    string(REGEX MATCH "^([^=]+)=?(.*)$" _ ${entry})
    set(name ${CMAKE_MATCH_1})
    set(words ${name})
    if(CMAKE_MATCH_2)
      set(words ${CMAKE_MATCH_2})
    endif()
    list(APPEND compiled ${VKD_SHADER_FOLDER}/${words}.inc)
    string(REPLACE "." "_" symbol ${name})
    string(APPEND arrays "static const uint32_t k_${symbol}[] = {\n#include \"${words}.inc\"\n};\n")
    string(APPEND table "    {\"${name}\", k_${symbol}, sizeof k_${symbol} / sizeof k_${symbol}[0]},\n")
  endforeach()
  file(CONFIGURE OUTPUT ${source} CONTENT
"// Generated from shaders/ by cmake/EmbedShaders.cmake.
#include \"graph/plan.h\"
${arrays}
const vkd__kernel vkd__kernels[] = {
${table}};
const size_t vkd__kernel_count = sizeof vkd__kernels / sizeof vkd__kernels[0];
")
  set_property(SOURCE ${source} APPEND PROPERTY OBJECT_DEPENDS "${compiled}")
endfunction()

# Sets the list of kernels that this glslc can make.
function(vkd_compile_shaders output)
  file(GLOB shaders CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/shaders/*.comp)
  set(names "")
  foreach(shader IN LISTS shaders)
    get_filename_component(base ${shader} NAME_WLE)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${shader})
    file(STRINGS ${shader} counts REGEX "gl_NumWorkGroups")
    if(counts)
      message(FATAL_ERROR "${shader}: a launch may be a piece of its grid; use GROUPS_X of lib/grid.glsl, not gl_NumWorkGroups")
    endif()
    file(STRINGS ${shader} needs REGEX "^//\\? ")
    file(STRINGS ${shader} lines REGEX "^//! ")
    foreach(line IN ITEMS "//! -" ${lines})
      string(REGEX MATCH "^//! ([^ ]+) ?([^?]*)\\??(.*)$" _ "${line}")
      set(variant ${CMAKE_MATCH_1})
      separate_arguments(flags UNIX_COMMAND "${CMAKE_MATCH_2}")
      string(REPLACE "//? " "" extensions "${needs};${CMAKE_MATCH_3}")
      set(known ON)
      foreach(extension IN ITEMS ${extensions})
        vkd_glslc_knows(${extension} knows)
        if(NOT knows)
          set(known OFF)
        endif()
      endforeach()
      if(NOT known)
        continue()
      endif()
      if(variant STREQUAL "-")
        set(name ${base})
      else()
        set(name ${base}.${variant})
      endif()
      vkd_compile_shader(${name} ${shader} ${flags})
      list(APPEND names ${name})
    endforeach()
  endforeach()
  set(${output} ${names} PARENT_SCOPE)
endfunction()
