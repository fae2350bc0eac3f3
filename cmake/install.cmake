# `programs` builds what a user runs and installs, and nothing else (script/run), so that `cmake --install` works after it. Install:
#     bin/veritas  libexec/veritas/veritas-{broker,audit,guard,worker,selftest,fetch,gateway}  libexec/veritas/veritas.rules
#     share/man/man1  completions  share/doc/veritas
#     include/veritas/veritas.h  lib/libveritas.{so,a}  lib/pkgconfig/veritas.pc  lib/cmake/veritas  share/man/man3
#     lib/systemd/{system,user}/{veritas,veritas-gateway}.service  lib/sysusers.d/veritas.conf
include(GNUInstallDirs)
# Everybody may look into what root installs, whatever root's umask is. Folders that are there already stay as they are.
set(folders ${CMAKE_INSTALL_BINDIR} ${CMAKE_INSTALL_LIBEXECDIR}/veritas ${CMAKE_INSTALL_MANDIR}/man1 ${CMAKE_INSTALL_DOCDIR}
    ${CMAKE_INSTALL_DATADIR}/bash-completion/completions ${CMAKE_INSTALL_DATADIR}/zsh/site-functions
    ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d ${CMAKE_INSTALL_INCLUDEDIR}/veritas ${CMAKE_INSTALL_LIBDIR}/pkgconfig
    ${CMAKE_INSTALL_LIBDIR}/cmake/veritas ${CMAKE_INSTALL_DOCDIR}/examples ${CMAKE_INSTALL_MANDIR}/man3 lib/systemd/system
    lib/systemd/user lib/sysusers.d)
install(CODE "set(folders \"${folders}\")")
install(CODE [[
    foreach(folder ${folders})
        set(path "$ENV{DESTDIR}${CMAKE_INSTALL_PREFIX}")
        string(REPLACE "/" ";" parts "${folder}")
        foreach(part "" ${parts})
            if(part)
                string(APPEND path "/${part}")
            endif()
            if(NOT EXISTS "${path}")
                file(MAKE_DIRECTORY "${path}")
                file(CHMOD "${path}" DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE
                    WORLD_READ WORLD_EXECUTE)
            endif()
        endforeach()
    endforeach()
]])
add_custom_target(programs)
foreach(library libveritas libveritas-static)
    if(TARGET ${library})
        add_dependencies(programs ${library})
    endif()
endforeach()
foreach(program veritas veritas-broker veritas-audit veritas-receipt veritas-guard veritas-worker veritas-selftest veritas-fetch
        veritas-gateway)
    if(TARGET ${program})
        add_dependencies(programs ${program})
    endif()
endforeach()

if(TARGET rules)
    add_dependencies(programs rules)
    install(FILES ${rules_file} DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/veritas)
endif()

install(TARGETS veritas RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
foreach(program veritas-broker veritas-audit veritas-receipt veritas-guard veritas-worker veritas-selftest veritas-fetch
        veritas-gateway)
    if(TARGET ${program})
        install(TARGETS ${program} RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/veritas)
    endif()
endforeach()

# Man pages and completions come out of the option table of the program itself.
set(pages run chat serve gateway stop ps top metrics load unload models "models list" "models pull" "models add" "models verify"
    "models rm" "models path" inspect tokenize detokenize constrain scan redact policy "policy check" "policy show"
    keys "keys add" "keys list" "keys revoke" "keys rotate" "keys whoami"
    audit "audit verify" "audit show" "audit export" "audit checkpoint" "audit key" verify
    embed rerank render quantize imatrix compare perplexity logits bench doctor selftest version help)
set(made ${CMAKE_BINARY_DIR}/made)
file(MAKE_DIRECTORY ${made})
set(outputs ${made}/veritas.1)
set(commands COMMAND veritas help --man > ${made}/veritas.1)
foreach(page ${pages})
    string(REPLACE " " "-" file "veritas-${page}.1")
    separate_arguments(words UNIX_COMMAND "${page}")
    list(APPEND outputs ${made}/${file})
    list(APPEND commands COMMAND veritas help ${words} --man > ${made}/${file})
endforeach()
install(FILES ${outputs} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
foreach(shell "bash;veritas" "zsh;_veritas" "fish;veritas.fish")
    list(GET shell 0 name)
    list(GET shell 1 file)
    list(APPEND commands COMMAND ${CMAKE_COMMAND} -E make_directory ${made}/${name}
        COMMAND veritas help --completion ${name} > ${made}/${name}/${file})
    list(APPEND outputs ${made}/${name}/${file})
endforeach()
add_custom_command(OUTPUT ${outputs} ${commands} DEPENDS veritas COMMENT "Writing man pages and completions" VERBATIM)
add_custom_target(manuals ALL DEPENDS ${outputs})
add_dependencies(programs manuals)
install(FILES ${made}/bash/veritas DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
install(FILES ${made}/zsh/_veritas DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
install(FILES ${made}/fish/veritas.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)

file(GLOB documents ${CMAKE_SOURCE_DIR}/docs/*.md)
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE ${CMAKE_SOURCE_DIR}/CHANGELOG.md ${documents} DESTINATION ${CMAKE_INSTALL_DOCDIR})

# The C library (cmake/library.cmake).
install(TARGETS libveritas LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES ${library_static} TYPE LIB)
install(FILES include/veritas/veritas.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/veritas)
install(FILES ${CMAKE_BINARY_DIR}/package/veritas.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
install(FILES ${CMAKE_BINARY_DIR}/package/veritas-config.cmake ${CMAKE_BINARY_DIR}/package/veritas-config-version.cmake
    DESTINATION ${package_folder})
install(FILES docs/man/veritas.3 DESTINATION ${CMAKE_INSTALL_MANDIR}/man3)
install(DIRECTORY examples DESTINATION ${CMAKE_INSTALL_DOCDIR})

# Units of systemd name the program by its path, which is known when it is installed.
install(CODE "set(bindir \"${CMAKE_INSTALL_BINDIR}\")\nset(units \"${CMAKE_SOURCE_DIR}/deploy/systemd\")\nset(made \"${made}\")")
install(CODE [[
    set(CMAKE_INSTALL_FULL_BINDIR "${CMAKE_INSTALL_PREFIX}/${bindir}")
    foreach(kind system user)
        foreach(unit veritas veritas-gateway)
            configure_file("${units}/${kind}/${unit}.service.in" "${made}/${kind}/${unit}.service" @ONLY)
            file(INSTALL "${made}/${kind}/${unit}.service" DESTINATION "${CMAKE_INSTALL_PREFIX}/lib/systemd/${kind}"
                PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ)
        endforeach()
    endforeach()
]])
install(FILES ${CMAKE_SOURCE_DIR}/deploy/systemd/sysusers.conf DESTINATION lib/sysusers.d RENAME veritas.conf)
