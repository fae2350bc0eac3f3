# `programs` builds what a user runs and nothing else (script/run). Install: bin/veritas, libexec/veritas/*.
include(GNUInstallDirs)
add_custom_target(programs)
foreach(program veritas veritas-broker veritas-worker)
    if(TARGET ${program})
        add_dependencies(programs ${program})
    endif()
endforeach()
