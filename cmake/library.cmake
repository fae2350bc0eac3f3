# libveritas, shared and static: the room api and what it stands on. Only the names of libveritas.map are seen from outside, in
# the static one too: its objects are linked into one, and what is hidden becomes local.
include(GNUInstallDirs)
set(library_folder ${CMAKE_BINARY_DIR}/${CMAKE_INSTALL_LIBDIR})
set(library_map ${CMAKE_SOURCE_DIR}/src/api/libveritas.map)

# Where `veritas` is, seen from the library: an installed folder may be moved.
file(RELATIVE_PATH lib_to_bin ${CMAKE_INSTALL_FULL_LIBDIR} ${CMAKE_INSTALL_FULL_BINDIR})
target_compile_definitions(vs_api PRIVATE VERITAS_LIB_TO_BIN="${lib_to_bin}")
foreach(room base ipc client api)
    target_compile_options(vs_${room} PRIVATE -fPIC)        # after the -fPIE of all
endforeach()

add_library(libveritas SHARED $<TARGET_OBJECTS:vs_api>)
target_link_libraries(libveritas PRIVATE vs_client ${CMAKE_DL_LIBS})
target_link_options(libveritas PRIVATE -Wl,--version-script=${library_map})
if(NOT VERITAS_SANITIZE)
    target_link_options(libveritas PRIVATE -Wl,-z,defs)
endif()
set_target_properties(libveritas PROPERTIES OUTPUT_NAME veritas VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
    LINKER_LANGUAGE C LINK_DEPENDS ${library_map} LIBRARY_OUTPUT_DIRECTORY ${library_folder})

# What finds it: veritas.pc, and find_package(veritas). Both by relative paths.
include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/veritas)
file(RELATIVE_PATH libdir_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" libdir_to_prefix ${libdir_to_prefix})
configure_file(cmake/veritas.pc.in ${CMAKE_BINARY_DIR}/package/veritas.pc @ONLY)
configure_package_config_file(cmake/veritas-config.cmake.in ${CMAKE_BINARY_DIR}/package/veritas-config.cmake
    INSTALL_DESTINATION ${package_folder} PATH_VARS CMAKE_INSTALL_BINDIR CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/veritas-config-version.cmake COMPATIBILITY SameMajorVersion)

set(library_static)
if(NOT VERITAS_SANITIZE)                                    # their tables do not survive it
    set(library_static ${library_folder}/libveritas.a)
    set(object ${CMAKE_BINARY_DIR}/CMakeFiles/libveritas.o)
    add_custom_command(OUTPUT ${library_static}
        COMMAND ${CMAKE_COMMAND} -E make_directory ${library_folder}
        COMMAND ${CMAKE_COMMAND} -E rm -f ${library_static}
        COMMAND ${CMAKE_LINKER} -r -o ${object} $<TARGET_OBJECTS:vs_api> $<TARGET_FILE:vs_client> $<TARGET_FILE:vs_ipc>
            $<TARGET_FILE:vs_base>
        COMMAND ${CMAKE_OBJCOPY} --localize-hidden ${object}
        COMMAND ${CMAKE_AR} rcs ${library_static} ${object}
        DEPENDS vs_api vs_client vs_ipc vs_base $<TARGET_OBJECTS:vs_api>
        COMMENT "Linking ${library_static}" COMMAND_EXPAND_LISTS VERBATIM)
    add_custom_target(libveritas-static ALL DEPENDS ${library_static})
endif()
