# SPDX-License-Identifier: Apache-2.0
# cmake --install: libraries, headers, the command, recipes, a CMake package and a pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS vkdistill_static vkdistill_shared EXPORT vkdistill)
install(DIRECTORY include/vkdistill TYPE INCLUDE)
if(TARGET vkdistill)
  install(TARGETS vkdistill)
  target_compile_definitions(vkdistill PRIVATE
    VKD_RECIPE_FOLDER="${CMAKE_INSTALL_FULL_DATADIR}/vkdistill/recipes")
endif()
install(DIRECTORY recipes DESTINATION ${CMAKE_INSTALL_DATADIR}/vkdistill FILES_MATCHING PATTERN *.yaml)

set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/vkdistill)
install(EXPORT vkdistill NAMESPACE vkdistill:: FILE vkdistill-targets.cmake DESTINATION ${package_folder})
configure_package_config_file(cmake/vkdistill-config.cmake.in vkdistill-config.cmake
  INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(vkdistill-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/vkdistill-config.cmake
  ${PROJECT_BINARY_DIR}/vkdistill-config-version.cmake DESTINATION ${package_folder})

configure_file(cmake/vkdistill.pc.in vkdistill.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/vkdistill.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
