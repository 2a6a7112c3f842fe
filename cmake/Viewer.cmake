# SPDX-License-Identifier: Apache-2.0
# The viewer is built where GLFW, Dear ImGui and a C++ compiler are found, unless VKD_VIEWER says
# otherwise.
if(NOT VKD_VIEWER STREQUAL "OFF" AND NOT VKD_FUZZ)
  # Of the C compiler's family: sanitizers of two do not mix.
  if(CMAKE_C_COMPILER_ID STREQUAL "Clang" AND NOT CMAKE_CXX_COMPILER)
    string(REGEX REPLACE "clang([^/]*)$" "clang++\\1" VKD_CLANGXX ${CMAKE_C_COMPILER})
    find_program(CMAKE_CXX_COMPILER ${VKD_CLANGXX} clang++)
  endif()
  include(CheckLanguage)
  check_language(CXX)
  pkg_check_modules(GLFW IMPORTED_TARGET glfw3)
  pkg_check_modules(IMGUI imgui)
  # pkg-config's file asks for stb, of which only what reads fonts is wanted.
  find_library(IMGUI_LIBRARY imgui)
  find_library(STB_LIBRARY NAMES stb libstb.so.0)
  if(CMAKE_CXX_COMPILER AND GLFW_FOUND AND IMGUI_FOUND AND IMGUI_LIBRARY AND STB_LIBRARY)
    enable_language(CXX) # here, since tests link it, too
    set(CMAKE_CXX_STANDARD 17)
    set(CMAKE_CXX_STANDARD_REQUIRED ON)
    set(CMAKE_CXX_EXTENSIONS OFF)
    set(CMAKE_CXX_VISIBILITY_PRESET hidden)
    add_subdirectory(viewer)
  elseif(VKD_VIEWER STREQUAL "AUTO")
    message(STATUS "vkdistill-view is left out: it needs GLFW, Dear ImGui and a C++ compiler "
      "(Debian and Ubuntu: libglfw3-dev libimgui-dev g++)")
  else()
    message(FATAL_ERROR "VKD_VIEWER is ${VKD_VIEWER}, but GLFW, Dear ImGui or a C++ compiler is "
      "missing (Debian and Ubuntu: libglfw3-dev libimgui-dev g++)")
  endif()
endif()
