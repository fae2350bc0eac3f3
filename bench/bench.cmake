# bench/: programs that measure; built with the rest, not installed. The suffix is the instruction set, as in src/.
set(limits_sources bench/limits.c)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    list(APPEND limits_sources bench/limits_avx2.c bench/limits_avx512.c)
    set_source_files_properties(bench/limits_avx2.c PROPERTIES COMPILE_OPTIONS "-mavx2;-mfma")
    set_source_files_properties(bench/limits_avx512.c PROPERTIES COMPILE_OPTIONS
        "-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mavx512vnni;-mfma")
endif()
add_executable(limits ${limits_sources})
target_link_libraries(limits PRIVATE vs_base)

if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    add_executable(bench-matmul bench/matmul.c bench/limits_avx2.c bench/limits_avx512.c)
    target_link_libraries(bench-matmul PRIVATE vs_cpu)
endif()

add_executable(bench-tokenizer bench/tokenizer.c)
target_link_libraries(bench-tokenizer PRIVATE vs_import vs_tokenizer)

add_executable(bench-constraint bench/constraint.c)
target_link_libraries(bench-constraint PRIVATE vs_import vs_tokenizer vs_grammar)

add_executable(guard-features bench/guard/features.c)
target_link_libraries(guard-features PRIVATE vs_filter)
