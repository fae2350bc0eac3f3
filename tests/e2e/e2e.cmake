# End-to-end tests: they go through the shipped programs. Each is a script with the standard library of Python only.
# vs_e2e(NAME script arguments...): label e2e; more labels by set_tests_properties.
find_program(PYTHON3 python3 REQUIRED)
function(vs_e2e name script)
    add_test(NAME e2e-${name} COMMAND ${PYTHON3} ${CMAKE_CURRENT_SOURCE_DIR}/e2e/${script} ${ARGN})
    set_tests_properties(e2e-${name} PROPERTIES LABELS e2e TIMEOUT 300)
endfunction()

vs_e2e(cli cli.py $<TARGET_FILE:veritas>)
vs_e2e(children children.py $<TARGET_FILE:veritas> $<TARGET_FILE:mkmodel>)
vs_e2e(fetch fetch.py $<TARGET_FILE:veritas>)
set_tests_properties(e2e-fetch PROPERTIES SKIP_RETURN_CODE 77)
vs_e2e(programs programs.py ${CMAKE_BINARY_DIR})
vs_e2e(answers answers.py $<TARGET_FILE:veritas>)
set_tests_properties(e2e-answers PROPERTIES SKIP_RETURN_CODE 77 LABELS "e2e;model")
vs_e2e(install install.py ${CMAKE_BINARY_DIR})
vs_e2e(capi capi.py ${CMAKE_BINARY_DIR})
set_tests_properties(e2e-capi e2e-install PROPERTIES RESOURCE_LOCK installed)         # one of them makes what both install
set_tests_properties(e2e-install PROPERTIES LABELS "e2e;no-asan")

# A worker whose model is an echo: the whole chain, and every fault, without a model.
add_executable(worker-echo ${CMAKE_SOURCE_DIR}/src/prog/worker/main.c ${CMAKE_SOURCE_DIR}/src/prog/worker/job.c
    ${CMAKE_CURRENT_SOURCE_DIR}/support/service_echo.c ${CMAKE_CURRENT_SOURCE_DIR}/support/attempts.c)
target_include_directories(worker-echo PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(worker-echo PRIVATE vs_ipc vs_sandbox vs_base)
vs_e2e(protocol protocol.py $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo>)
vs_e2e(limits limits.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(line line.py $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo>)
# Each attack for a minute beside an honest client, five at once; on a machine that does nothing else.
vs_e2e(attacks attacks.py $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo> ${CMAKE_BINARY_DIR}/bin 60 5)
set_tests_properties(e2e-attacks PROPERTIES LABELS "e2e;attacks;no-asan" RUN_SERIAL ON TIMEOUT 420)
vs_e2e(daemon daemon.py $<TARGET_FILE:veritas> $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo>)
vs_e2e(settings settings.py $<TARGET_FILE:veritas> $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo>)
vs_e2e(serve serve.py $<TARGET_FILE:veritas> $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo>)
set_tests_properties(e2e-serve PROPERTIES LABELS "e2e;no-asan")
set_tests_properties(e2e-daemon PROPERTIES SKIP_RETURN_CODE 77)
vs_e2e(attempts attempts.py $<TARGET_FILE:veritas> $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo>)
set_tests_properties(e2e-attempts PROPERTIES LABELS "e2e;no-asan")
vs_e2e(batch batch.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(soak soak.py ${CMAKE_BINARY_DIR}/bin 60)
set_tests_properties(e2e-soak PROPERTIES LABELS "e2e;no-asan" TIMEOUT 300)
add_test(NAME long-soak COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/soak.py ${CMAKE_BINARY_DIR}/bin 1800)
set_tests_properties(long-soak PROPERTIES LABELS long TIMEOUT 3600)
vs_e2e(users users.py ${CMAKE_BINARY_DIR}/bin)
set_tests_properties(e2e-users PROPERTIES SKIP_RETURN_CODE 77)
vs_e2e(faults faults.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(digest digest.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(logits logits.py ${CMAKE_BINARY_DIR}/bin)
set_tests_properties(e2e-logits PROPERTIES SKIP_RETURN_CODE 77)

# One hash whatever the instruction set, threads and chunk; tiny models of every weight class.
vs_e2e(determinism determinism.py $<TARGET_FILE:veritas> $<TARGET_FILE:mkmodel>)
# The same over 300 tokens of the default model, where it was fetched.
add_test(NAME long-determinism
         COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/determinism.py $<TARGET_FILE:veritas>
    $<TARGET_FILE:mkmodel> --model smollm2-135m-instruct --tokens 300)
set_tests_properties(long-determinism PROPERTIES LABELS "long;model" TIMEOUT 3600 SKIP_RETURN_CODE 77)
set_tests_properties(e2e-determinism PROPERTIES LABELS "e2e;no-asan" TIMEOUT 900)

# The self-test as shipped, and that it notices a wrong answer.
vs_e2e(selftest selftest.py $<TARGET_FILE:veritas>)

vs_e2e(tokenizer tokenizer.py $<TARGET_FILE:veritas> $<TARGET_FILE:mkmodel> ${CMAKE_CURRENT_SOURCE_DIR}/golden/tokenizer)
vs_e2e(requests requests.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(speculation speculation.py ${CMAKE_BINARY_DIR}/bin)
