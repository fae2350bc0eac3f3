# The rooms, bottom up, and the programs made of them.
vs_room(base       NEEDS Threads::Threads)
vs_room(tensor     NEEDS vs_base)
vs_room(graph      NEEDS vs_tensor)
vs_room(import     NEEDS vs_graph)
vs_room(backend    NEEDS vs_graph)
vs_room(cpu        NEEDS vs_backend)
vs_room(unicode    NEEDS vs_base)
vs_room(tokenizer  NEEDS vs_unicode)
vs_room(template   NEEDS vs_tokenizer PkgConfig::JANSSON m)
vs_room(sampler    NEEDS vs_base)
vs_room(grammar    NEEDS vs_unicode PkgConfig::JANSSON m)
vs_room(kv         NEEDS vs_base)
vs_room(sched      NEEDS vs_base m)
vs_room(draft      NEEDS vs_base)
vs_room(engine     NEEDS vs_import vs_backend vs_kv PkgConfig::CRYPTO)
vs_room(selftest   NEEDS vs_import vs_cpu vs_sampler vs_kv)
vs_room(ipc        NEEDS vs_base PkgConfig::JANSSON)
vs_room(parts      NEEDS vs_ipc vs_grammar)
vs_room(filter     NEEDS vs_unicode vs_vectorscan)
vs_room(policy     NEEDS vs_ipc)
vs_room(identity   NEEDS vs_ipc)
vs_room(receipt    NEEDS vs_base)
vs_room(evidence   NEEDS vs_receipt vs_ipc PkgConfig::CRYPTO)
vs_room(sandbox    NEEDS vs_base PkgConfig::SECCOMP)
vs_room(client     NEEDS vs_ipc)
vs_room(api        NEEDS vs_client ${CMAKE_DL_LIBS})

vs_program(veritas        veritas  client identity policy evidence ipc sandbox base
    PkgConfig::JANSSON PkgConfig::EDIT PkgConfig::CRYPTO)
vs_program(veritas-broker broker   identity receipt ipc sandbox base)
# Writes the audit log, for a daemon that keeps one.
vs_program(veritas-audit  audit    evidence receipt ipc sandbox base PkgConfig::CRYPTO PkgConfig::SODIUM)
# Judges a receipt, without an engine: for `veritas verify`.
vs_program(veritas-receipt receipt evidence receipt ipc sandbox base PkgConfig::CRYPTO)
# Looks at what goes into a model and comes out of it; left out where there is no Vectorscan (libvectorscan-dev).
vs_program(veritas-guard  guard    policy filter vectorscan unicode receipt ipc sandbox base)
vs_program(veritas-worker worker   engine cpu sched draft template tokenizer unicode sampler grammar parts receipt ipc sandbox
    PkgConfig::CRYPTO)
vs_program(veritas-selftest selftest selftest)
# Speaks TLS and HTTP for `veritas models pull URL`; left out where there is no libcurl, which nothing else links.
vs_program(veritas-fetch fetch     base PkgConfig::CURL PkgConfig::SECCOMP)
# Speaks HTTP and TLS to strangers; left out where there is no llhttp (Debian: node-llhttp), which nothing else links.
vs_program(veritas-gateway gateway client identity ipc sandbox base llhttp PkgConfig::SSL PkgConfig::CRYPTO)
