# End-to-end tests: they go through the shipped programs. Each is a script with the standard library of Python only.
# vs_e2e(NAME script arguments...): label e2e; more labels by set_tests_properties.
find_program(PYTHON3 python3 REQUIRED)
function(vs_e2e name script)
    add_test(NAME e2e-${name} COMMAND ${PYTHON3} ${CMAKE_CURRENT_SOURCE_DIR}/e2e/${script} ${ARGN})
    set_tests_properties(e2e-${name} PROPERTIES LABELS e2e TIMEOUT 600)
endfunction()

vs_e2e(cli cli.py $<TARGET_FILE:veritas>)
vs_e2e(children children.py $<TARGET_FILE:veritas> $<TARGET_FILE:mkmodel>)
vs_e2e(render render.py ${CMAKE_BINARY_DIR}/bin ${CMAKE_CURRENT_SOURCE_DIR}/golden/template)
vs_e2e(fetch fetch.py $<TARGET_FILE:veritas>)
set_tests_properties(e2e-fetch PROPERTIES SKIP_RETURN_CODE 77)
vs_e2e(programs programs.py ${CMAKE_BINARY_DIR})
vs_e2e(answers answers.py $<TARGET_FILE:veritas>)
set_tests_properties(e2e-answers PROPERTIES SKIP_RETURN_CODE 77 LABELS "e2e;model")
vs_e2e(install install.py ${CMAKE_BINARY_DIR})
vs_e2e(capi capi.py ${CMAKE_BINARY_DIR})
vs_e2e(python python.py ${CMAKE_BINARY_DIR})
set_tests_properties(e2e-python PROPERTIES SKIP_RETURN_CODE 77 LABELS "e2e;no-asan")
set_tests_properties(e2e-capi e2e-install e2e-python PROPERTIES RESOURCE_LOCK installed)     # one makes what all install
set_tests_properties(e2e-install PROPERTIES LABELS "e2e;no-asan")

# A worker whose model is an echo: the whole chain, and every fault, without a model.
add_executable(worker-echo ${CMAKE_SOURCE_DIR}/src/prog/worker/main.c ${CMAKE_SOURCE_DIR}/src/prog/worker/job.c
    ${CMAKE_SOURCE_DIR}/src/prog/worker/claim.c
    ${CMAKE_CURRENT_SOURCE_DIR}/support/service_echo.c ${CMAKE_CURRENT_SOURCE_DIR}/support/attempts.c)
target_include_directories(worker-echo PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(worker-echo PRIVATE vs_receipt vs_ipc vs_sandbox vs_base)
vs_e2e(protocol protocol.py $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo>)
vs_e2e(limits limits.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(line line.py $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo>)
# Each attack for a minute beside an honest client, five at once; on a machine that does nothing else.
vs_e2e(attacks attacks.py $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo> ${CMAKE_BINARY_DIR}/bin 60 5)
set_tests_properties(e2e-attacks PROPERTIES LABELS "e2e;attacks;no-asan" RUN_SERIAL ON TIMEOUT 420)
vs_e2e(daemon daemon.py $<TARGET_FILE:veritas> $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo>)
if(TARGET veritas-gateway)
    vs_e2e(gateway gateway.py $<TARGET_FILE:veritas> $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo>
        $<TARGET_FILE:veritas-gateway>)
    vs_e2e(http_api http_api.py ${CMAKE_BINARY_DIR}/bin)
    # The clients that people have, where they are installed.
    add_test(NAME long-http_clients
             COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/http_clients.py ${CMAKE_BINARY_DIR}/bin)
    set_tests_properties(long-http_clients PROPERTIES LABELS long TIMEOUT 300 SKIP_RETURN_CODE 77)
    add_test(NAME long-page COMMAND ${PYTHON3} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/page.py $<TARGET_FILE:veritas>)
    set_tests_properties(long-page PROPERTIES LABELS "long;model" TIMEOUT 300 SKIP_RETURN_CODE 77)
    vs_e2e(doors doors.py ${CMAKE_BINARY_DIR}/bin 15)
    set_tests_properties(e2e-doors PROPERTIES LABELS "e2e;no-asan")
    add_test(NAME long-doors COMMAND ${PYTHON3} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/doors.py ${CMAKE_BINARY_DIR}/bin 600)
    set_tests_properties(long-doors PROPERTIES LABELS long TIMEOUT 900)
endif()
vs_e2e(audit audit.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(verify verify.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(receipt_soak receipt_soak.py ${CMAKE_BINARY_DIR}/bin)
add_test(NAME long-receipt_soak COMMAND ${PYTHON3} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/receipt_soak.py ${CMAKE_BINARY_DIR}/bin 1000)
set_tests_properties(long-receipt_soak PROPERTIES LABELS long TIMEOUT 1800)
vs_e2e(audit_faults audit_faults.py ${CMAKE_BINARY_DIR}/bin)
# Each process is killed at 200 moments; then every byte at which a file or a write may be cut.
add_test(NAME long-audit_kills
         COMMAND ${PYTHON3} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/audit.py ${CMAKE_BINARY_DIR}/bin Audit.test_killed)
add_test(NAME long-audit_cuts COMMAND ${PYTHON3} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/audit_faults.py ${CMAKE_BINARY_DIR}/bin)
set_tests_properties(long-audit_kills long-audit_cuts PROPERTIES LABELS long TIMEOUT 7200
                     ENVIRONMENT "VERITAS_KILLS=200;VERITAS_FAULTS=all")
vs_e2e(receipts receipts.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(vectors vectors.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(policy policy.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(settings settings.py $<TARGET_FILE:veritas> $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo>)
vs_e2e(serve serve.py $<TARGET_FILE:veritas> $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo>)
set_tests_properties(e2e-serve PROPERTIES LABELS "e2e;no-asan;waits")
set_tests_properties(e2e-daemon PROPERTIES SKIP_RETURN_CODE 77)
vs_e2e(attempts attempts.py $<TARGET_FILE:veritas> $<TARGET_FILE:veritas-broker> $<TARGET_FILE:worker-echo>)
set_tests_properties(e2e-attempts PROPERTIES LABELS "e2e;no-asan")
vs_e2e(split split.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(lora lora.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(batch batch.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(soak soak.py ${CMAKE_BINARY_DIR}/bin 60)
set_tests_properties(e2e-soak PROPERTIES LABELS "e2e;no-asan" TIMEOUT 300)
add_test(NAME long-soak COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/soak.py ${CMAKE_BINARY_DIR}/bin 1800)
set_tests_properties(long-soak PROPERTIES LABELS long TIMEOUT 3600)
vs_e2e(users users.py ${CMAKE_BINARY_DIR}/bin)
set_tests_properties(e2e-users PROPERTIES SKIP_RETURN_CODE 77)
vs_e2e(faults faults.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(guard guard.py ${CMAKE_BINARY_DIR}/bin $<TARGET_FILE:worker-echo>)
add_test(NAME long-guard_kills
         COMMAND ${PYTHON3} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/guard.py ${CMAKE_BINARY_DIR}/bin $<TARGET_FILE:worker-echo>
                 Policies.test_guard_dies_while_it_redacts)
set_tests_properties(long-guard_kills PROPERTIES LABELS long TIMEOUT 600 ENVIRONMENT VERITAS_KILLS=100)
# A worker that does what none may.
add_executable(worker-rogue ${CMAKE_CURRENT_SOURCE_DIR}/support/worker_rogue.c)
target_include_directories(worker-rogue PRIVATE ${CMAKE_SOURCE_DIR}/src)
target_link_libraries(worker-rogue PRIVATE vs_ipc vs_sandbox vs_base)
vs_e2e(rogue rogue.py ${CMAKE_BINARY_DIR}/bin $<TARGET_FILE:worker-rogue>)
vs_e2e(digest digest.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(logits logits.py ${CMAKE_BINARY_DIR}/bin)
set_tests_properties(e2e-logits PROPERTIES SKIP_RETURN_CODE 77)

# One hash whatever the instruction set, threads and chunk; tiny models of every weight class.
vs_e2e(quantize quantize.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(imatrix imatrix.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(determinism determinism.py $<TARGET_FILE:veritas> $<TARGET_FILE:mkmodel>)
# The same over 300 tokens of the default model, where it was fetched.
add_test(NAME long-determinism
         COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/determinism.py $<TARGET_FILE:veritas>
    $<TARGET_FILE:mkmodel> --model smollm2-135m-instruct --tokens 300)
set_tests_properties(long-determinism PROPERTIES LABELS "long;model" TIMEOUT 3600 SKIP_RETURN_CODE 77)
set_tests_properties(e2e-determinism PROPERTIES LABELS "e2e;no-asan" TIMEOUT 900)

# The self-test as shipped, and that it notices a wrong answer; a build that is slow tries the brief one only.
vs_e2e(selftest selftest.py $<TARGET_FILE:veritas> ${kernels_how})

vs_e2e(tokenizer tokenizer.py $<TARGET_FILE:veritas> $<TARGET_FILE:mkmodel> ${CMAKE_CURRENT_SOURCE_DIR}/golden/tokenizer)
vs_e2e(identity identity.py ${CMAKE_BINARY_DIR}/bin)
add_test(NAME long-shares COMMAND ${PYTHON3} -B ${CMAKE_CURRENT_SOURCE_DIR}/e2e/identity.py ${CMAKE_BINARY_DIR}/bin full)
set_tests_properties(long-shares PROPERTIES LABELS long TIMEOUT 300)
vs_e2e(delegate delegate.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(metrics metrics.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(parts parts.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(requests requests.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(speculation speculation.py ${CMAKE_BINARY_DIR}/bin)
vs_e2e(states states.py ${CMAKE_BINARY_DIR}/bin)

# They sleep more than they compute: script/test runs them beside others.
foreach(name protocol line settings daemon faults fetch cli limits gateway malformed)
    if(TEST e2e-${name})
        set_property(TEST e2e-${name} APPEND PROPERTY LABELS waits)
    endif()
endforeach()
# Threads of the worker, which says what it is told by the sanitizer (processes.py).
foreach(name batch speculation states)
    set_property(TEST e2e-${name} APPEND PROPERTY LABELS tsan)
endforeach()
# Answers that keep a form; long-constrain: 1,000 schemas.
vs_e2e(constrain constrain.py ${CMAKE_BINARY_DIR}/bin)
add_test(NAME long-constrain COMMAND ${PYTHON3} ${CMAKE_CURRENT_SOURCE_DIR}/e2e/constrain.py ${CMAKE_BINARY_DIR}/bin --full)
set_tests_properties(long-constrain PROPERTIES LABELS long TIMEOUT 3600)
add_test(NAME long-schemas COMMAND ${PYTHON3} ${CMAKE_CURRENT_SOURCE_DIR}/e2e/schema_suite.py ${CMAKE_BINARY_DIR}/bin)
set_tests_properties(long-schemas PROPERTIES LABELS long TIMEOUT 1200 SKIP_RETURN_CODE 77)
