# The rules of injection, compiled into one file for every processor of this architecture, beside the programs.
set(rules_file ${CMAKE_BINARY_DIR}/bin/veritas.rules)
if(TARGET vs_vectorscan)
    file(GLOB rules_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/src/filter/rules/*.rules)
    add_executable(mkrules tools/mkrules.c)
    target_link_libraries(mkrules PRIVATE vs_filter ${HS_WHOLE})
    set_target_properties(mkrules PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
    add_custom_command(OUTPUT ${rules_file} COMMAND mkrules ${rules_file} ${rules_sources} DEPENDS mkrules ${rules_sources}
        COMMENT "Compiling the rules of injection" VERBATIM)
    add_custom_target(rules ALL DEPENDS ${rules_file})
endif()
