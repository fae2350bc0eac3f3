/* prog/veritas/options.c - the option table and its strict parser. What the options mean is said in their rows only. */
#include "prog/veritas/options.h"

#include "base/size.h"
#include "base/utf8.h"
#include "base/word.h"
#include "ipc/keys.h"
#include "ipc/name.h"
#include "prog/veritas/command.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#define C(name) VS_COMMAND_BIT(VS_COMMAND_##name)
/* Commands that look into a model, and those of them that compute with it. */
#define COMPUTE (C(RUN) | C(CHAT) | C(PERPLEXITY) | C(LOGITS) | C(COMPARE) | VECTORS | C(BENCH))
#define VECTORS (C(EMBED) | C(RERANK))
#define LOOK (COMPUTE | C(INSPECT) | C(TOKENIZE) | C(DETOKENIZE) | C(RENDER) | C(CONSTRAIN))
#define ANSWER (C(RUN) | C(CHAT))
/* Commands whose options become settings of a model. */
#define LOADING (C(LOAD) | C(SERVE) | C(GATEWAY))
/* Commands that ask the guard alone. */
#define SCANNING (C(SCAN) | C(REDACT))
/* Commands about the folder of keys. */
#define KEYS (C(KEYS_ADD) | C(KEYS_LIST) | C(KEYS_REVOKE) | C(KEYS_ROTATE))
/* Commands that read the audit log. */
#define AUDIT (C(AUDIT_VERIFY) | C(AUDIT_SHOW) | C(AUDIT_CHECKPOINT) | C(AUDIT_KEY) | C(AUDIT_EXPORT))
/* Commands that may talk to a running daemon. */
#define DAEMON (SCANNING | C(GATEWAY) | C(RUN) | C(CHAT) | C(PERPLEXITY) | C(LOGITS) | VECTORS | C(LOAD) | C(UNLOAD) | C(PS) | \
    C(TOP) | C(METRICS) | C(STOP) | C(KEYS_WHOAMI) | C(AUDIT_FETCH))

#if defined(__aarch64__)
#define ISA_CHOICES "auto|c|neon|i8mm"
#else
#define ISA_CHOICES "auto|c|avx2|avxvnni|avx512"
#endif

#define INT_HIGH 2147483647.0

const struct vs_option vs_options[VS_OPT_COUNT] = {
    [VS_OPT_HELP] = { .name = "help", .letter = 'h', .commands = ~UINT64_C(0),
        .help = "Show what the command does and all its options." },

    [VS_OPT_MODEL] = { .name = "model", .letter = 'm', .type = VS_TYPE_MODEL, .value = "MODEL", .preset = "smollm2-135m-instruct",
        .commands = LOOK | C(GATEWAY) | C(VERIFY) | C(IMATRIX),
        .help = "The model: a path to a GGUF file, or a name that `veritas models list` knows." },
    [VS_OPT_FILE] = { .name = "file", .letter = 'f', .type = VS_TYPE_PATH, .repeat = true, .value = "FILE",
        .commands = C(RUN) | C(COMPARE) | C(RENDER) | C(IMATRIX) | VECTORS,
        .help = "Read the prompt from FILE, - for standard input; words on the command line come before it. May be repeated: all "
                "count, in order." },
    [VS_OPT_DOCUMENT] = { .name = "document", .type = VS_TYPE_PATH, .repeat = true, .value = "FILE", .commands = ANSWER,
        .help = "Give the model the text of FILE to read beside the prompt. The guard trusts it less, as text that was "
                "retrieved (docs/GUARD.md). May be repeated." },
    [VS_OPT_SYSTEM] = { .name = "system", .type = VS_TYPE_TEXT, .value = "TEXT", .key = "system", .commands = ANSWER,
        .help = "A system message for the model's chat template." },
    [VS_OPT_CHAT_TEMPLATE] = { .name = "chat-template", .type = VS_TYPE_TEXT, .low = 1, .value = "NAME", .key = "template",
        .preset = "the model's default", .commands = ANSWER | C(RENDER),
        .help = "Which of the model's own chat templates to use (some have several: rag, tool_use)." },
    [VS_OPT_TEMPLATE_ARG] = { .name = "template-arg", .type = VS_TYPE_NAMED, .repeat = true, .value = "NAME=VALUE",
        .key = "template_args", .commands = ANSWER | C(RENDER),
        .help = "Set variable NAME of the chat template, such as enable_thinking=false; VALUE is JSON, or else a text. May be "
                "repeated." },
    [VS_OPT_RAW] = { .name = "raw", .key = "raw", .commands = C(RUN),
        .help = "Complete the prompt as it is, without the model's chat template." },
    [VS_OPT_SPECIAL] = { .name = "special", .key = "special", .commands = C(RUN) | C(TOKENIZE) | C(DETOKENIZE),
        .help = "Let names of control tokens in the text become those tokens (off: text can never be a control token); when "
                "detokenizing: show them." },
    [VS_OPT_TEMPLATE] = { .name = "template", .type = VS_TYPE_PATH, .value = "FILE", .preset = "the model's", .commands = C(RENDER),
        .help = "The chat template: the text of FILE." },
    [VS_OPT_RUNS] = { .name = "runs", .commands = C(RENDER),
        .help = "Show the pieces of the text, and of each whether the template made it or the input; only in the template's can a "
                "control token stand." },
    [VS_OPT_JSON] = { .name = "json",
        .commands = C(RUN) | C(RENDER) | C(PS) | C(MODELS_LIST) | C(INSPECT) | C(TOKENIZE) | C(PERPLEXITY) | C(LOGITS) |
                    C(COMPARE) | VECTORS | C(BENCH) | C(DOCTOR) | C(SELFTEST) | C(VERSION) | C(POLICY_SHOW) | SCANNING |
                    C(KEYS_ADD) | C(KEYS_LIST) | C(KEYS_ROTATE) | C(KEYS_WHOAMI) | C(AUDIT_VERIFY) | C(AUDIT_SHOW) |
                    C(VERIFY),
        .help = "Print JSON instead of text." },
    [VS_OPT_PROGRAM] = { .name = "program", .key = "program", .commands = C(INSPECT),
        .help = "Show instead the program that a step of this model runs on this machine: a line for each instruction." },
    [VS_OPT_TIMINGS] = { .name = "timings", .commands = ANSWER,
        .help = "After an answer, print on standard error how many tokens were read and written, and how fast." },
    [VS_OPT_NO_HISTORY] = { .name = "no-history", .commands = C(CHAT),
        .help = "Do not keep what is typed, and do not offer what was typed before (VERITAS_HISTORY=off does so always)." },
    [VS_OPT_BRIEF] = { .name = "brief", .commands = C(SELFTEST),
        .help = "Try only one or two ways for each model and instruction set: a fifth of the time, the same digest." },
    [VS_OPT_EVERY] = { .name = "every", .type = VS_TYPE_INT, .low = 1, .high = 1000, .value = "N", .preset = "1",
        .commands = C(SELFTEST),
        .help = "Try only each N-th model, on a machine that is slow: another digest, and less is shown." },
    [VS_OPT_QUIET] = { .name = "quiet", .letter = 'q',
        .commands = LOOK | C(VERIFY) | C(LOAD) | C(MODELS_PULL) | C(MODELS_ADD) | C(MODELS_VERIFY),
        .help = "Say nothing on standard error but errors and what other options ask for: no progress, no remarks." },

    [VS_OPT_VERBOSE] = { .name = "verbose", .letter = 'v', .commands = C(PS),
        .help = "Show more of each model: its KV cache, how long requests take, its settings." },

    [VS_OPT_MAX_TOKENS] = { .name = "max-tokens", .letter = 'n', .type = VS_TYPE_INT, .value = "N",
        .unit = "tokens", .preset = "until the answer or the context ends", .key = "max_tokens", .commands = ANSWER,
        .help = "Stop after N tokens." },
    [VS_OPT_SEED] = { .name = "seed", .type = VS_TYPE_INT, .choices = "random",
        .value = "N", .preset = "0", .key = "sampling.seed", .commands = ANSWER,
        .help = "Seed of the random numbers; the same seed gives the same answer. With random one is drawn, and told on standard "
                "error." },
    [VS_OPT_TEMP] = { .name = "temp", .type = VS_TYPE_FLOAT, .value = "X", .preset = "the model file's, else 0.8",
        .key = "sampling.temperature", .commands = ANSWER,
        .help = "Temperature; 0 always takes the most likely token." },
    [VS_OPT_TOP_K] = { .name = "top-k", .type = VS_TYPE_INT, .value = "N", .unit = "tokens",
        .preset = "the model file's, else 40", .key = "sampling.top_k", .commands = ANSWER,
        .help = "Choose among the N most likely tokens; 0 turns it off." },
    [VS_OPT_TOP_P] = { .name = "top-p", .type = VS_TYPE_FLOAT, .value = "P",
        .preset = "the model file's, else 0.95", .key = "sampling.top_p", .commands = ANSWER,
        .help = "Choose among the most likely tokens that together have probability P; 1 turns it off." },
    [VS_OPT_MIN_P] = { .name = "min-p", .type = VS_TYPE_FLOAT, .value = "P",
        .preset = "the model file's, else 0.05", .key = "sampling.min_p", .commands = ANSWER,
        .help = "Leave out tokens less likely than P times the most likely one; 0 turns it off." },
    [VS_OPT_TYPICAL] = { .name = "typical", .type = VS_TYPE_FLOAT, .value = "P", .preset = "1",
        .key = "sampling.typical_p", .commands = ANSWER,
        .help = "Locally typical sampling with mass P; 1 turns it off." },
    [VS_OPT_REPEAT_PENALTY] = { .name = "repeat-penalty", .type = VS_TYPE_FLOAT, .value = "X", .preset = "1",
        .key = "sampling.repeat_penalty", .commands = ANSWER,
        .help = "Divide the logits of recent tokens by X (multiply negative ones); 1 turns it off." },
    [VS_OPT_PRESENCE_PENALTY] = { .name = "presence-penalty", .type = VS_TYPE_FLOAT, .value = "X",
        .preset = "0", .key = "sampling.presence_penalty", .commands = ANSWER,
        .help = "Subtract X from the logits of tokens that occurred recently." },
    [VS_OPT_FREQUENCY_PENALTY] = { .name = "frequency-penalty", .type = VS_TYPE_FLOAT, .value = "X",
        .preset = "0", .key = "sampling.frequency_penalty", .commands = ANSWER,
        .help = "Subtract X from the logits of recent tokens for each time they occurred." },
    [VS_OPT_REPEAT_LAST_N] = { .name = "repeat-last-n", .type = VS_TYPE_INT, .value = "N", .unit = "tokens",
        .preset = "64", .key = "sampling.repeat_last_n", .commands = ANSWER,
        .help = "How far back penalties look; -1: everything, 0: off." },
    [VS_OPT_LOGIT_BIAS] = { .name = "logit-bias", .type = VS_TYPE_BIAS, .repeat = true, .low = 0, .high = INT_HIGH, .value = "ID=X",
        .key = "sampling.logit_bias", .commands = ANSWER,
        .help = "Add X to the logit of token ID; -inf forbids it. May be repeated." },
    [VS_OPT_IGNORE_FILE_SAMPLING] = { .name = "ignore-file-sampling", .key = "sampling.ignore_file", .commands = ANSWER,
        .help = "Do not follow what the model file recommends for sampling." },
    [VS_OPT_IGNORE_EOS] = { .name = "ignore-eos", .key = "ignore_eos", .commands = ANSWER,
        .help = "Do not stop at the model's end-of-answer tokens." },
    [VS_OPT_STOP] = { .name = "stop", .type = VS_TYPE_TEXT, .repeat = true, .low = 1, .value = "TEXT", .key = "stop",
        .commands = ANSWER, .help = "Stop before TEXT would appear in the answer. May be repeated." },
    [VS_OPT_STOP_TOKEN] = { .name = "stop-token", .type = VS_TYPE_INT, .repeat = true, .low = 0, .high = INT_HIGH, .value = "ID",
        .key = "stop_tokens", .commands = ANSWER,
        .help = "Stop at token ID. May be repeated." },
    [VS_OPT_LOGPROBS] = { .name = "logprobs", .type = VS_TYPE_INT, .value = "N", .unit = "tokens", .key = "logprobs",
        .commands = C(RUN),
        .help = "With --json: report the log-probability of each token and of the N best at its place." },
    [VS_OPT_LOGITS_HASH] = { .name = "logits-hash", .key = "logits_hash", .commands = C(RUN),
        .help = "Report a SHA-256 over all logits and tokens of the answer (docs/NUMERICS.md): equal hashes prove equal "
                "computation." },
    [VS_OPT_RECEIPT] = { .name = "receipt", .type = VS_TYPE_PATH, .low = 1, .value = "FILE", .commands = ANSWER,
        .help = "Write a receipt of each answer into FILE, a line each, - for standard output: what was computed from what, signed "
                "(docs/RECEIPT.md). It holds prompt and answer." },
    [VS_OPT_RECEIPT_LEVEL] = { .name = "receipt-level", .type = VS_TYPE_INT, .low = 1, .high = 2, .value = "N", .preset = "1",
        .commands = ANSWER,
        .help = "The receipt covers the 64 best logits of each token (1), or all of them (2), which takes longer." },
    [VS_OPT_LINE] = { .name = "line", .type = VS_TYPE_INT, .low = 1, .high = 1000000000, .value = "N", .commands = C(VERIFY),
        .help = "Of a file with several receipts, a line each: the one of line N." },
    [VS_OPT_KEPT] = { .name = "kept", .type = VS_TYPE_PATH, .value = "FILE", .commands = C(VERIFY),
        .help = "The file in which the receipt's operator keeps what his guard withheld from clients (receipts.keep)." },
    [VS_OPT_CHOICES] = { .name = "choices", .type = VS_TYPE_INT, .value = "N", .preset = "1", .key = "n", .commands = C(RUN),
        .help = "Give N answers to the prompt, which is read once; answer number I, from 0 on, is that of --seed SEED+I alone." },
    [VS_OPT_PRIORITY] = { .name = "priority", .type = VS_TYPE_CHOICE, .choices = "high|normal|low", .value = "CLASS",
        .preset = "normal", .key = "priority", .commands = ANSWER | VECTORS,
        .help = "Who comes first when the daemon has more requests than places." },
    [VS_OPT_CACHE_KEY] = { .name = "cache-key", .type = VS_TYPE_TEXT, .low = 1, .high = 64, .value = "TEXT", .key = "cache_key",
        .commands = ANSWER,
        .help = "Share what was computed of a prompt only with requests of the same TEXT, at most 64 bytes." },
    [VS_OPT_SPECULATION] = { .name = "speculation", .type = VS_TYPE_CHOICE, .value = "MODE", .preset = "auto", .key = "speculation",
        .commands = ANSWER | C(BENCH) | LOADING,
        .help = "Guess tokens and check several at once where that is faster (auto), or never (off); the answer is the same." },
    [VS_OPT_SCHEMA] = { .name = "schema", .type = VS_TYPE_PATH, .value = "FILE", .commands = C(RUN) | C(CONSTRAIN),
        .help = "The answer is JSON and keeps the JSON schema in FILE, - for standard input." },
    [VS_OPT_REGEX] = { .name = "regex", .type = VS_TYPE_TEXT, .low = 1, .value = "REGEX", .commands = C(RUN) | C(CONSTRAIN),
        .help = "The whole answer matches a regular expression." },
    [VS_OPT_GRAMMAR] = { .name = "grammar", .type = VS_TYPE_PATH, .value = "FILE", .commands = C(RUN) | C(CONSTRAIN),
        .help = "The answer keeps the grammar in FILE (GBNF), - for standard input." },
    [VS_OPT_CHOICE] = { .name = "choice", .type = VS_TYPE_TEXT, .low = 1, .repeat = true, .value = "TEXT",
        .commands = C(RUN) | C(CONSTRAIN),
        .help = "The answer is one of the texts that are given so; for several of them." },
    [VS_OPT_ACCEPTS] = { .name = "accepts", .type = VS_TYPE_PATH, .value = "FILE", .commands = C(CONSTRAIN),
        .help = "Is the text of FILE (- for standard input) an answer that is allowed?" },
    [VS_OPT_TOOLS] = { .name = "tools", .type = VS_TYPE_PATH, .value = "FILE", .commands = C(RUN),
        .help = "Functions that the model may call: a JSON list in FILE, - for standard input (docs/TOOLS.md). Calls are printed, "
                "and nothing runs them." },
    [VS_OPT_TOOL_CHOICE] = { .name = "tool-choice", .type = VS_TYPE_TEXT, .low = 1, .value = "auto|none|required|NAME",
        .commands = C(RUN),
        .help = "Whether the model may call a function (auto), must not (none), must (required), or must call NAME." },
    [VS_OPT_REASONING] = { .name = "reasoning", .type = VS_TYPE_CHOICE, .choices = "show|hide", .value = "HOW",
        .preset = "as the model writes it", .commands = ANSWER,
        .help = "Show what the model thinks before it answers (dimmed on a terminal), or hide it." },
    [VS_OPT_NOW] = { .name = "now", .type = VS_TYPE_INT, .value = "SECONDS", .unit = "seconds since 1970",
        .preset = "0", .key = "now", .commands = C(RUN) | C(CHAT) | C(RENDER),
        .help = "The time for chat templates that print the date ($(date +%s) is now); an answer never depends on the clock by "
                "itself." },
    [VS_OPT_DEADLINE] = { .name = "deadline", .type = VS_TYPE_FLOAT, .low = 0.001, .high = 604800, .value = "S", .unit = "seconds",
        .preset = "none", .commands = LOOK | C(VERIFY),
        .help = "Give up when the request is not done after S seconds (exit status 6)." },

    [VS_OPT_THREADS] = { .name = "threads", .letter = 't', .type = VS_TYPE_INT, .value = "N",
        .preset = "the processor cores this process may use", .key = "settings.threads",
        .commands = COMPUTE | C(VERIFY) | LOADING | C(QUANTIZE) | C(IMATRIX),
        .help = "How many threads compute." },
    [VS_OPT_ISA] = { .name = "isa", .type = VS_TYPE_CHOICE, .choices = ISA_CHOICES, .value = "LEVEL", .preset = "auto",
        .key = "settings.isa", .commands = COMPUTE | C(VERIFY) | LOADING | C(SELFTEST),
        .help = "The instruction set; every level gives the same bits." },
    [VS_OPT_CTX] = { .name = "ctx", .letter = 'c', .type = VS_TYPE_INT, .value = "N", .unit = "tokens",
        .preset = "the model's, as far as memory allows", .key = "settings.ctx",
        .commands = COMPUTE | LOADING | C(INSPECT) | C(IMATRIX),
        .help = "Length of the context." },
    [VS_OPT_KV_TYPE] = { .name = "kv-type", .type = VS_TYPE_CHOICE, .value = "TYPE", .preset = "f16",
        .key = "settings.kv_type", .commands = COMPUTE | LOADING,
        .help = "Number format of the KV cache." },
    [VS_OPT_PREFILL_CHUNK] = { .name = "prefill-chunk", .type = VS_TYPE_INT, .value = "N", .unit = "tokens",
        .preset = "chosen by the engine", .key = "settings.prefill_chunk", .commands = COMPUTE | LOADING,
        .help = "Read the prompt in chunks of N; every size gives the same bits." },
    [VS_OPT_PRECISION] = { .name = "precision", .type = VS_TYPE_CHOICE, .value = "LEVEL", .preset = "fast",
        .key = "settings.precision", .commands = COMPUTE | LOADING,
        .help = "How finely activations are rounded: fast (8 bits, contract VNC-1) or high (16 bits, VNC-1H: some hundred times "
                "closer to exact arithmetic, prefill up to half as fast); see docs/NUMERICS.md." },

    [VS_OPT_DRAFT] = { .name = "draft", .type = VS_TYPE_MODEL, .value = "NAME", .preset = "none", .key = "settings.draft",
        .commands = ANSWER | C(BENCH) | LOADING,
        .help = "A small model of the model directory, with the same vocabulary, that guesses tokens for the large one." },
    [VS_OPT_LORA] = { .name = "lora", .type = VS_TYPE_TEXT, .low = 1, .repeat = true, .value = "FILE[=SCALE]",
        .key = "settings.lora", .commands = COMPUTE | C(LOAD) | C(VERIFY),
        .help = "A LoRA adapter for the model, a GGUF file or a name of the model directory, and how much it counts (1). May be "
                "repeated." },
    [VS_OPT_LORA_SCALE] = { .name = "lora-scale", .type = VS_TYPE_FLOAT, .low = -1000, .high = 1000, .repeat = true,
        .value = "SCALE", .preset = "as loaded", .key = "lora", .commands = ANSWER | C(PERPLEXITY) | C(LOGITS),
        .help = "How much each of the model's adapters counts in this request: once for each, in the order in which they were "
                "loaded." },
    [VS_OPT_KV_MEMORY] = { .name = "kv-memory", .type = VS_TYPE_SIZE, .value = "SIZE", .preset = "a quarter of free memory",
        .key = "settings.kv_memory", .commands = ANSWER | C(BENCH) | LOADING,
        .help = "How much memory the KV cache of all requests of a model may take." },
    [VS_OPT_PARALLEL] = { .name = "parallel", .type = VS_TYPE_INT, .value = "N", .unit = "requests", .preset = "32",
        .key = "settings.parallel", .commands = C(BENCH) | LOADING,
        .help = "How many requests a model answers at once." },
    [VS_OPT_ITL_TARGET] = { .name = "itl-target", .type = VS_TYPE_INT, .value = "MS", .unit = "milliseconds", .preset = "100",
        .key = "settings.itl_target_ms", .commands = LOADING,
        .help = "The time between two tokens of an answer that is aimed for while prompts of others are read." },
    [VS_OPT_PREFIX_CACHE] = { .name = "prefix-cache", .type = VS_TYPE_CHOICE, .value = "WHOSE", .preset = "owner",
        .key = "settings.prefix_cache", .commands = LOADING,
        .help = "Which prompts that begin alike are read once: those of one user (owner), of all users (shared: how long an answer "
                "takes tells others what was asked), or none (off)." },
    [VS_OPT_IDLE_UNLOAD] = { .name = "idle-unload", .type = VS_TYPE_INT, .value = "S", .unit = "seconds", .preset = "0, never",
        .key = "settings.idle_unload_s", .commands = LOADING,
        .help = "Unload a model that answered nothing for S seconds." },
    [VS_OPT_ALIAS] = { .name = "alias", .type = VS_TYPE_TEXT, .low = 1, .high = VS_MODEL_NAME_MAX, .value = "NAME",
        .key = "settings.alias", .commands = C(LOAD) | C(GATEWAY),
        .help = "Another name (a-z 0-9 . _ -) by which the model can be asked for while it is loaded." },

    [VS_OPT_MIX] = { .name = "type", .type = VS_TYPE_TEXT, .low = 1, .high = 40, .value = "TYPE", .commands = C(QUANTIZE),
        .help = "What to make: Q4_K_M and the like, which mix types by what costs least quality." },
    [VS_OPT_IMATRIX] = { .name = "imatrix", .type = VS_TYPE_PATH, .value = "FILE", .commands = C(QUANTIZE),
        .help = "An importance matrix of `veritas imatrix` or another program: columns that are multiplied with larger "
                "values get smaller errors." },
    [VS_OPT_TENSOR_TYPE] = { .name = "tensor", .type = VS_TYPE_TEXT, .low = 1, .high = 200, .repeat = true,
        .value = "PATTERN=TYPE", .commands = C(QUANTIZE),
        .help = "Another type for the matrices whose names fit; * stands for any text. May be repeated; the first that fits "
                "counts." },
    [VS_OPT_NO_BOS] = { .name = "no-bos", .key = "no_bos", .commands = C(TOKENIZE),
        .help = "Do not put the model's beginning-of-text token first." },
    [VS_OPT_TOKENS] = { .name = "tokens", .type = VS_TYPE_INTS, .low = 0, .high = INT_HIGH, .value = "ID,ID,...", .key = "tokens",
        .commands = C(LOGITS) | C(DETOKENIZE) | C(EMBED),
        .help = "Token ids instead of text." },
    [VS_OPT_POOLING] = { .name = "pooling", .type = VS_TYPE_CHOICE, .value = "HOW", .preset = "as the model file says",
        .key = "pooling", .commands = C(EMBED),
        .help = "Make one vector of those of a text's tokens: their mean, the first (cls), the last; none gives all of them; rank "
                "gives the scores of a model that ranks." },
    [VS_OPT_NORMALIZE] = { .name = "normalize", .type = VS_TYPE_CHOICE, .value = "HOW", .preset = "l2", .key = "normalize",
        .commands = C(EMBED), .help = "Bring each vector to length 1 (l2), or leave it as it is." },
    [VS_OPT_DIMENSIONS] = { .name = "dimensions", .type = VS_TYPE_INT, .value = "N", .unit = "numbers", .preset = "all",
        .key = "dimensions", .commands = C(EMBED),
        .help = "Keep the first N numbers of each vector, of models that were trained for it." },
    [VS_OPT_QUERY] = { .name = "query", .type = VS_TYPE_TEXT, .low = 1, .value = "TEXT", .key = "query", .commands = C(RERANK),
        .help = "What the documents should answer." },
    [VS_OPT_OUTPUT] = { .name = "output", .letter = 'o', .type = VS_TYPE_PATH, .value = "FILE",
        .commands = C(LOGITS) | C(EMBED) | C(IMATRIX),
        .help = "Where to write the .npy file, - for standard output; an older file is replaced when the new one is whole." },
    [VS_OPT_PP] = { .name = "pp", .type = VS_TYPE_INTS, .low = 0, .high = 1048576, .value = "N,N,...", .unit = "tokens",
        .preset = "512", .key = "pp", .commands = C(BENCH),
        .help = "Measure reading a prompt of N tokens; 0 for none." },
    [VS_OPT_TG] = { .name = "tg", .type = VS_TYPE_INTS, .low = 0, .high = 1048576, .value = "N,N,...", .unit = "tokens",
        .preset = "128", .key = "tg", .commands = C(BENCH),
        .help = "Measure writing N tokens one by one; 0 for none." },
    [VS_OPT_DEPTH] = { .name = "depth", .type = VS_TYPE_INTS, .low = 0, .high = 1048576, .value = "N,N,...", .unit = "tokens",
        .preset = "0", .key = "depth", .commands = C(BENCH),
        .help = "With N tokens in the context already." },
    [VS_OPT_BATCH] = { .name = "batch", .type = VS_TYPE_INTS, .low = 1, .high = 256, .value = "N,N,...", .unit = "sequences",
        .preset = "1", .key = "batch", .commands = C(BENCH),
        .help = "Write with N sequences in each step: tokens per second of all together (tg64x16)." },
    [VS_OPT_REPS] = { .name = "reps", .type = VS_TYPE_INT, .value = "N", .preset = "3", .key = "reps",
        .commands = C(BENCH),
        .help = "Repeat each measurement N times." },

    [VS_OPT_FROM] = { .name = "from", .type = VS_TYPE_PATH, .value = "DIR", .commands = C(MODELS_PULL),
        .help = "Take the packages from the directory DIR instead of the network (air-gapped sites)." },
    [VS_OPT_SHA256] = { .name = "sha256", .type = VS_TYPE_TEXT, .low = 64, .value = "HEX", .commands = C(MODELS_PULL),
        .help = "The SHA-256 that the file at a URL must have; of a split one those of all parts, separated by commas." },
    [VS_OPT_INSECURE_NO_DIGEST] = { .name = "insecure-no-digest", .commands = C(MODELS_PULL),
        .help = "Take a file from a URL though nobody says which SHA-256 it should have." },
    [VS_OPT_CA] = { .name = "ca", .type = VS_TYPE_PATH, .value = "FILE", .preset = "$SSL_CERT_FILE, else the system's",
        .commands = C(MODELS_PULL), .help = "Certificates (PEM) of the authorities that may vouch for a server." },
    [VS_OPT_ALL_TENSORS] = { .name = "tensors", .commands = C(INSPECT),
        .help = "List every tensor, and show long texts whole." },
    [VS_OPT_FORMATS] = { .name = "formats", .commands = C(INSPECT),
        .help = "Look at no file: list the architectures, the types of weights and the tokenizers that models may have." },
    [VS_OPT_FORCE] = { .name = "force", .commands = C(MODELS_PULL) | C(MODELS_ADD) | C(MODELS_VERIFY) | C(UNLOAD),
        .help = "Replace a model that is there; write down what is there; unload one that is answering." },
    [VS_OPT_LISTEN] = { .name = "listen", .type = VS_TYPE_TEXT, .low = 1, .repeat = true, .value = "HOST:PORT|unix:PATH",
        .preset = "127.0.0.1:8080", .commands = C(GATEWAY),
        .help = "Where to listen; port 0 picks a free one. May be repeated." },
    [VS_OPT_METRICS_LISTEN] = { .name = "metrics-listen", .type = VS_TYPE_TEXT, .low = 1, .value = "HOST:PORT|unix:PATH",
        .preset = "none", .commands = C(GATEWAY),
        .help = "Serve /metrics, without a key, and the probes here; nothing else." },
    [VS_OPT_METRICS_ALIAS] = { .name = "metrics-alias", .type = VS_TYPE_CHOICE, .choices = "vllm", .value = "NAMES",
        .preset = "none", .commands = C(GATEWAY),
        .help = "Print metrics that vLLM has too once more, under its names." },
    [VS_OPT_REQUIRE_KEY] = { .name = "require-key", .commands = C(GATEWAY),
        .help = "Answer only who has an API key of the daemon (`veritas keys`); always so where its policy requires one." },
    [VS_OPT_TLS_CERT] = { .name = "tls-cert", .type = VS_TYPE_PATH, .value = "FILE", .preset = "none", .commands = C(GATEWAY),
        .help = "Speak TLS with this certificate (PEM, with the chain behind it)." },
    [VS_OPT_TLS_KEY] = { .name = "tls-key", .type = VS_TYPE_PATH, .value = "FILE", .preset = "none", .commands = C(GATEWAY),
        .help = "The private key of --tls-cert (PEM)." },
    [VS_OPT_INSECURE] = { .name = "insecure", .commands = C(GATEWAY),
        .help = "Listen to other machines also without keys or TLS." },
    [VS_OPT_ALLOW_HOST] = { .name = "allow-host",
        .type = VS_TYPE_TEXT, .low = 1, .high = 255, .repeat = true, .value = "NAME",
        .preset = "none", .commands = C(GATEWAY),
        .help = "Requests may call this machine NAME in their Host, beside localhost and the address of --listen. May be "
                "repeated." },
    [VS_OPT_ALLOW_ORIGIN] = { .name = "allow-origin",
        .type = VS_TYPE_TEXT, .low = 1, .high = 255, .repeat = true, .value = "ORIGIN",
        .preset = "none", .commands = C(GATEWAY),
        .help = "Pages of ORIGIN (https://chat.example.org) may ask from a browser; * lets all. May be repeated." },
    [VS_OPT_MAX_BODY] = { .name = "max-body", .type = VS_TYPE_SIZE, .low = 1024, .high = 16777216, .value = "SIZE", .preset = "16M",
        .commands = C(GATEWAY),
        .help = "How large the body of a request may be." },
    [VS_OPT_MAX_CONNECTIONS] = { .name = "max-connections", .type = VS_TYPE_INT, .low = 1, .high = 65536, .value = "N",
        .unit = "connections", .preset = "1024", .commands = C(GATEWAY),
        .help = "How many clients may be connected; for one more, the one that has been idle for longest is closed." },
    [VS_OPT_NO_WEB] = { .name = "no-web", .commands = C(GATEWAY),
        .help = "Do not serve the web page at /." },
    [VS_OPT_OLLAMA] = { .name = "ollama", .commands = C(GATEWAY),
        .help = "Serve the routes of Ollama (/api/chat, ...) too." },
    [VS_OPT_OTLP] = { .name = "otlp", .type = VS_TYPE_TEXT, .low = 1, .high = 300, .value = "URL", .preset = "none",
        .commands = C(GATEWAY),
        .help = "Send a span for each request to the OpenTelemetry collector at URL (http, OTLP/HTTP with protobuf)." },
    [VS_OPT_POLICY] = { .name = "policy", .type = VS_TYPE_PATH, .value = "FILE",
        .preset = "$VERITAS_POLICY, else $XDG_CONFIG_HOME/veritas/policy.json, else /etc/veritas/policy.json, else built in",
        .commands = C(SERVE) | C(GATEWAY) | ANSWER | SCANNING | KEYS | AUDIT,
        .help = "The policy of the guard (docs/GUARD.md), in a private daemon: nobody chooses the policy of one that runs." },
    [VS_OPT_CHECKPOINT] = { .name = "checkpoint", .type = VS_TYPE_PATH, .value = "FILE", .commands = C(AUDIT_VERIFY),
        .help = "A checkpoint of this log that was kept elsewhere (`veritas audit checkpoint`): the log must contain what it "
                "signs." },
    [VS_OPT_PUBKEY] = { .name = "pubkey", .type = VS_TYPE_PATH, .value = "FILE", .commands = (AUDIT & ~C(AUDIT_SHOW)) | C(VERIFY),
        .help = "The log's public key, kept elsewhere (`veritas audit key`); else the one beside the log is believed." },
    [VS_OPT_MODE] = { .name = "mode", .type = VS_TYPE_CHOICE, .choices = "structure|replay|decode", .value = "MODE",
        .preset = "replay where there is --model, else structure", .commands = C(VERIFY),
        .help = "What is verified: signature and commitments (structure); that, and the computation again, in one go over prompt "
                "and answer (replay) or token by token (decode)." },
    [VS_OPT_FORMAT] = { .name = "format", .type = VS_TYPE_CHOICE, .choices = "ocsf|cef", .value = "FORMAT", .preset = "ocsf",
        .commands = C(AUDIT_EXPORT),
        .help = "The records as they are, which is JSON in the words of OCSF, or lines of CEF." },
    [VS_OPT_PROOF] = { .name = "proof", .commands = C(AUDIT_EXPORT),
        .help = "With each record a proof that the newest checkpoint signs it (C2SP tlog-proof): objects with line and proof." },
    [VS_OPT_SINCE] = { .name = "since", .type = VS_TYPE_TEXT, .low = 1, .value = "TIME",
        .commands = C(AUDIT_SHOW) | C(AUDIT_EXPORT),
        .help = "Leave out what happened before TIME: a date (2026-11-29, 2026-11-29T12:30:00Z), seconds since 1970, or a time "
                "before now (12h, 7d)." },
    [VS_OPT_UNTIL] = { .name = "until", .type = VS_TYPE_TEXT, .low = 1, .value = "TIME",
        .commands = C(AUDIT_SHOW) | C(AUDIT_EXPORT),
        .help = "Leave out what happened at TIME or later." },
    [VS_OPT_TYPE] = { .name = "type", .type = VS_TYPE_TEXT, .low = 1, .high = 60, .value = "EVENT", .commands = C(AUDIT_SHOW),
        .help = "Only records of this event: request, answer, finding, start, stop, ..." },
    [VS_OPT_ZONE] = { .name = "zone", .type = VS_TYPE_CHOICE, .value = "ZONE", .preset = "user", .key = "zone", .commands = C(SCAN),
        .help = "Where the text comes from: how far it is trusted." },
    [VS_OPT_MAX_BYTES] = { .name = "max-bytes", .type = VS_TYPE_SIZE, .low = 1, .high = 15728640, .value = "N", .preset = "15M",
        .commands = C(SCAN), .help = "Refuse a text that is longer (exit status 5)." },
    [VS_OPT_TYPES] = { .name = "types", .type = VS_TYPE_TEXT, .low = 1, .value = "TYPE,TYPE,...", .preset = "those of the policy",
        .commands = C(REDACT), .help = "What to replace: EMAIL, CREDIT_CARD, ... (docs/GUARD.md has the list)." },
    [VS_OPT_STYLE] = { .name = "style", .type = VS_TYPE_CHOICE, .value = "STYLE", .preset = "that of the policy",
        .key = "redact.style", .commands = C(REDACT),
        .help = "What stands in its place: [REDACTED:EMAIL] (label), stars (mask), or a word that is the same for the same value "
                "(hash)." },
    [VS_OPT_CUT] = { .name = "cut", .type = VS_TYPE_TEXT, .low = 1, .value = "N|random:SEED", .preset = "all at once",
        .commands = C(REDACT),
        .help = "Feed the filter pieces of N bytes, or of random sizes, as a stream would; the result is the same." },
    [VS_OPT_LINES] = { .name = "lines", .commands = SCANNING | C(RENDER),
        .help = "Read JSON lines (see above), and write one JSON line for each, in order." },
    [VS_OPT_FAIL] = { .name = "fail", .commands = C(SCAN),
        .help = "End with exit status 7 when a text was flagged." },
    [VS_OPT_ROLE] = { .name = "role", .type = VS_TYPE_CHOICE, .choices = "user|operator|auditor|admin", .value = "ROLE",
        .preset = "user", .commands = C(KEYS_ADD),
        .help = "What the key may do: ask (user), also load, unload and measure (operator), only look (auditor), everything "
                "(admin)." },
    [VS_OPT_SCOPES] = { .name = "scopes", .type = VS_TYPE_TEXT, .low = 1, .value = "SCOPE,SCOPE,...", .preset = "those of its role",
        .commands = C(KEYS_ADD),
        .help = "Only these of what its role may do: generate, tokenize, list, load, ... (docs/IDENTITY.md has the list)." },
    [VS_OPT_EXPIRES] = { .name = "expires", .type = VS_TYPE_TEXT, .low = 1, .value = "TIME", .preset = "never",
        .commands = C(KEYS_ADD), .help = "The key ends after this time: 90s, 30m, 12h, 30d." },
    [VS_OPT_GRACE] = { .name = "grace", .type = VS_TYPE_TEXT, .low = 1, .value = "TIME", .preset = "none: it ends at once",
        .commands = C(KEYS_ROTATE), .help = "The old key goes on for this time: 90s, 30m, 12h, 30d." },
    [VS_OPT_QUEUE] = { .name = "queue", .type = VS_TYPE_INT, .value = "N", .unit = "requests", .preset = "256",
        .key = "serve.queue", .commands = C(SERVE),
        .help = "How many requests may wait for one model; one more is refused (busy)." },
    [VS_OPT_CLIENTS] = { .name = "clients", .type = VS_TYPE_INT, .value = "N", .unit = "connections", .preset = "1024",
        .key = "serve.clients", .commands = C(SERVE),
        .help = "How many connections have a place of their own." },
    [VS_OPT_MEMORY] = { .name = "memory", .type = VS_TYPE_SIZE, .value = "SIZE", .preset = "90 % of what is free at the start",
        .key = "serve.memory", .commands = C(SERVE),
        .help = "How much memory all models may take together." },
    [VS_OPT_DELEGATE] = { .name = "delegate", .type = VS_TYPE_INT, .repeat = true, .low = 0, .high = 4294967295.0,
        .value = "UID", .key = "serve.delegates", .commands = C(SERVE),
        .help = "Programs of this user may say for whom they ask (on_behalf_of): each person then has a share and caches of its "
                "own. May be repeated." },
    [VS_OPT_HANG] = { .name = "hang", .type = VS_TYPE_INT, .value = "S", .unit = "seconds", .preset = "10", .key = "serve.hang_s",
        .commands = C(SERVE),
        .help = "A worker that computes and shows no progress for S seconds, in which it had a processor, is ended and "
                "replaced." },
    [VS_OPT_DRAIN] = { .name = "drain", .type = VS_TYPE_INT, .value = "S", .unit = "seconds", .preset = "10",
        .key = "serve.drain_s", .commands = C(SERVE) | C(GATEWAY),
        .help = "At the end, answers that are under way have S seconds to become complete." },
    [VS_OPT_CONFIG] = { .name = "config", .type = VS_TYPE_PATH, .value = "FILE", .commands = C(SERVE),
        .help = "Read options from FILE too; those of the command line count more." },
    [VS_OPT_CHECK] = { .name = "check", .commands = C(SERVE),
        .help = "Only check the options, the file of --config and the models that it names: say ok, or what is wrong, and end." },
    [VS_OPT_LOG] = { .name = "log", .type = VS_TYPE_CHOICE, .value = "FORM", .preset = "text", .key = "serve.log",
        .commands = C(SERVE),
        .help = "The form of the log, which goes to standard error: lines of text, or one JSON object a line." },
    [VS_OPT_SOCKET] = { .name = "socket", .type = VS_TYPE_PATH, .value = "PATH",
        .preset = "$VERITAS_SOCKET, else $XDG_RUNTIME_DIR/veritas/veritas.sock", .commands = DAEMON | C(SERVE) | C(DOCTOR),
        .help = "Socket of the daemon." },
    [VS_OPT_PRIVATE] = { .name = "private",
        .commands = C(GATEWAY) | C(RUN) | C(CHAT) | C(PERPLEXITY) | C(LOGITS) | VECTORS | SCANNING,
        .help = "Start a private daemon for this command even when one is running." },
    [VS_OPT_PRIVATE_FD] = { .name = "private-fd", .type = VS_TYPE_INT, .hidden = true, .low = 3, .high = 1048576, .value = "FD",
        .commands = C(SERVE),
        .help = "Serve the one client at the other end of descriptor FD, and end with it." },
    [VS_OPT_MAN] = { .name = "man", .hidden = true, .commands = C(HELP), .help = "Print the man page." },
    [VS_OPT_COMPLETION] = { .name = "completion", .type = VS_TYPE_CHOICE, .choices = "bash|zsh|fish", .value = "SHELL",
        .commands = C(HELP),
        .help = "Print the completion script for SHELL." },
};

static const struct { enum vs_option_id id; uint64_t commands; const char *preset, *help; } meanings[] = {
    { VS_OPT_MODEL, C(VERIFY), "none", "The model that the receipt names: a path to a GGUF file, or a name." },
    { VS_OPT_LORA, C(VERIFY), NULL,
      "An adapter that the receipt names, a GGUF file; in their order. How much it counts the receipt says." },
    { VS_OPT_ISA, C(VERIFY), NULL, "The instruction set with which it is computed again; c is plain C, without any of them." },
    { VS_OPT_PUBKEY, C(VERIFY), NULL,
      "The key of who made the receipt (`veritas audit key`, kept elsewhere), or the log's file of keys; else nobody vouches for "
      "the key that the receipt brings." },
    { VS_OPT_FILE, C(COMPARE), "standard input", "The text that both models read." },
    { VS_OPT_FILE, C(IMATRIX), NULL, "The text that the model reads." },
    { VS_OPT_OUTPUT, C(IMATRIX), NULL, "Where to write the imatrix; an older file is replaced when the new one is whole." },
    { VS_OPT_CTX, C(IMATRIX), "512", "Tokens in a chunk." },
    { VS_OPT_CTX, C(PERPLEXITY) | C(COMPARE), "512", "Tokens in a window; the second half of each is scored." },
    { VS_OPT_CTX, C(INSPECT), "the model's", "The length of context for which the memory is told." },
    { VS_OPT_CTX, C(LOGITS), NULL, "Length of the context: the text must fit into it." },
    { VS_OPT_CTX, C(BENCH), NULL, "Length of the context: depth and test must fit into it." },
    { VS_OPT_FORCE, C(MODELS_PULL), NULL, "Replace another file of that name." },
    { VS_OPT_FORCE, C(MODELS_ADD), NULL, "Replace a model of that name." },
    { VS_OPT_FORCE, C(MODELS_VERIFY), NULL, "Write down the SHA-256 of the file that is there, though another one was recorded." },
    { VS_OPT_FORCE, C(UNLOAD), NULL, "Unload a model that is answering: its requests fail." },
    { VS_OPT_SPECIAL, C(RUN) | C(TOKENIZE), NULL,
      "Let names of control tokens in the text become those tokens (off: text can never be a control token)." },
    { VS_OPT_SPECIAL, C(DETOKENIZE), NULL, "Show control tokens by their names (off: they have no text)." },
    { VS_OPT_FILE, VECTORS, NULL,
      "Read a text from FILE, - for standard input; words on the command line come before it. May be repeated." },
    { VS_OPT_TOKENS, C(EMBED), NULL, "Token ids in place of a text." },
    { VS_OPT_JSON, C(RUN), NULL, "Print one JSON object at the end instead of text." },
    { VS_OPT_JSON, C(POLICY_SHOW), NULL, "Print one object with file (null: built in), digest and policy." },
    { VS_OPT_POLICY, C(SERVE), NULL, "The policy of the guard (docs/GUARD.md); SIGHUP reads it again." },
    { VS_OPT_POLICY, KEYS, NULL, "The policy that says where keys are kept (identity.keys)." },
    { VS_OPT_JSON, C(KEYS_ADD) | C(KEYS_ROTATE), NULL, "Print one object, with the key in it." },
    { VS_OPT_POLICY, AUDIT, NULL, "The policy whose audit.dir is meant, where no DIR is given." },
    { VS_OPT_JSON, C(AUDIT_VERIFY), NULL, "Print the result as one JSON object." },
    { VS_OPT_JSON, C(AUDIT_SHOW), NULL, "Print the records as they are: a JSON object a line." },
    { VS_OPT_JSON, SCANNING, NULL, "Print the result as one JSON object." },
    { VS_OPT_JSON, C(TOKENIZE), NULL, "Print a JSON list." },
    { VS_OPT_JSON, C(LOGITS), NULL, "Print what was written, as JSON, on standard output." },
    { VS_OPT_TOKENS, C(DETOKENIZE), NULL, "The token ids, in one word." },
    { VS_OPT_ISA, C(SELFTEST), NULL, "The highest instruction set to try." },
    { VS_OPT_MODEL, C(GATEWAY), "none", "The model of requests that name none: a path to a GGUF file, or a name." },
    { VS_OPT_SOCKET, C(SERVE), NULL, "Where to listen." },
    { VS_OPT_SOCKET, C(DOCTOR), NULL, "The socket to look at." },
    { VS_OPT_MODEL, C(TOKENIZE) | C(DETOKENIZE), NULL,
      "The model whose vocabulary counts: a path to a GGUF file, or a name that `veritas models list` knows." },
};

struct vs_option vs_option_of(enum vs_option_id id, const struct vs_command *command)
{
    struct vs_option option = vs_options[id];
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].id == id && (meanings[i].commands & VS_COMMAND_BIT(vs_command_id(command)))) {
            option.help = meanings[i].help;
            option.preset = meanings[i].preset ? meanings[i].preset : option.preset;
        }
    if (id == VS_OPT_SPECULATION && !(VS_COMMAND_BIT(vs_command_id(command)) & ANSWER))
        option.key = "settings.speculation";        /* of a model rather than of a request */
    return option;
}

static bool number_parse(const char *s, double *ret)
{
    /* strtod alone would take " 1", "0x1p3", "nan" and "infinity", and in some locales "1,5" (we never set a locale). */
    if (s[strspn(s, "+-.0123456789eE")] != '\0' || s[0] == '\0')
        return false;
    char *end;
    errno = 0;
    double value = strtod(s, &end);
    if (*end != '\0' || end == s || !isfinite(value) || (errno == ERANGE && value != 0))
        return false;
    *ret = value;
    return true;
}

bool vs_integer_parse(const char *s, int64_t *ret)
{
    const char *digits = s[0] == '-' ? s + 1 : s;
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0')
        return false;
    errno = 0;
    long long value = strtoll(s, NULL, 10);
    if (errno != 0)
        return false;
    *ret = value;
    return true;
}

/* What the option accepts: as the key that it sets (ipc/keys.h), unless its row says something narrower. */
static struct vs_key range_of(const struct vs_option *o)
{
    const struct vs_key *key = o->key ? vs_key_find(o->key) : NULL;
    struct vs_key range = { .low = o->low, .high = o->high, .words = o->choices };
    range.value = o->type == VS_TYPE_FLOAT ? VS_VALUE_NUMBER : o->type == VS_TYPE_CHOICE ? VS_VALUE_CHOICE : VS_VALUE_INT;
    if (key && range.low == 0 && range.high == 0) {
        range.low = key->low;
        range.high = key->high;
    }
    if (key && key->value == VS_VALUE_CHOICE && !range.words)
        range.words = key->words;
    return range;
}

void vs_option_range(const struct vs_option *o, char *ret, size_t n)
{
    struct vs_key range = range_of(o);
    ret[0] = '\0';
    switch (o->type) {
    case VS_TYPE_INT:
        vs_key_range(&range, ret, n);
        if (o->choices)
            snprintf(ret + strlen(ret), n - strlen(ret), " or %s", o->choices);
        break;
    case VS_TYPE_FLOAT:
    case VS_TYPE_CHOICE: vs_key_range(&range, ret, n); break;
    case VS_TYPE_SIZE:
        if (range.high < 1e9)
            snprintf(ret, n, "a size in bytes, such as 512K or 2M, from %.15g to %.15g", range.low, range.high);
        else
            snprintf(ret, n, "a size in bytes, such as 512M or 2G, of %.15g or more", range.low);
        break;
    case VS_TYPE_INTS: snprintf(ret, n, "whole numbers from %.15g to %.15g, separated by commas", range.low, range.high); break;
    case VS_TYPE_NAMED: snprintf(ret, n, "NAME=VALUE, with a NAME of letters, digits and _"); break;
    case VS_TYPE_BIAS: snprintf(ret, n, "ID=X, a token id and a number from -1e9 to 1e9 or -inf"); break;
    default: break;
    }
}

const char *vs_option_choices(const struct vs_option *o)
{
    return range_of(o).words;
}

/* Walks "1,2,3"; calls back for each number. False when one is no integer in range. */
static bool ints_walk(const struct vs_option *o, const char *s, json_t *array)
{
    for (;;) {
        char word[24];
        size_t length = strcspn(s, ",");
        int64_t value;
        if (length == 0 || length >= sizeof word)
            return false;
        memcpy(word, s, length);
        word[length] = '\0';
        if (!vs_integer_parse(word, &value) || (double)value < o->low || (double)value > o->high)
            return false;
        if (array && json_array_append_new(array, json_integer(value)) < 0)
            return false;
        if (s[length] == '\0')
            return true;
        s += length + 1;
    }
}

static bool bias_parse(const struct vs_option *o, const char *s, int64_t *ret_id, double *ret_bias)
{
    char word[24];
    size_t length = strcspn(s, "=");
    if (s[length] != '=' || length >= sizeof word)
        return false;
    memcpy(word, s, length);
    word[length] = '\0';
    if (!vs_integer_parse(word, ret_id) || (double)*ret_id < o->low || (double)*ret_id > o->high)
        return false;
    if (strcmp(s + length + 1, "-inf") == 0) {
        *ret_bias = -INFINITY;
        return true;
    }
    return number_parse(s + length + 1, ret_bias) && fabs(*ret_bias) <= 1e9;
}

/* NAME=VALUE: the length of NAME, or 0 when it isn't one. */
static size_t named_parse(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return s[n] == '=' && n < 64 && vs_utf8_valid(s, strlen(s)) == strlen(s) ? n : 0;
}

static bool choice_has(const char *choices, const char *s)
{
    size_t n = strlen(s);
    for (const char *c = choices; n > 0 && (c = strstr(c, s)) != NULL; c += n)
        if ((c == choices || c[-1] == '|') && (c[n] == '|' || c[n] == '\0') && !strchr(s, '|'))
            return true;
    return false;
}

static bool value_check(const struct vs_option *o, const char *s)
{
    struct vs_key range = range_of(o);
    uint64_t size;
    int64_t i;
    double d;
    switch (o->type) {
    case VS_TYPE_INT:
        return (o->choices && choice_has(o->choices, s))
               || (vs_integer_parse(s, &i) && (double)i >= range.low && (double)i <= range.high);
    case VS_TYPE_SIZE: return vs_size_parse(s, &size) && (double)size >= range.low && (double)size <= range.high;
    case VS_TYPE_FLOAT: return number_parse(s, &d) && d >= range.low && d <= range.high;
    case VS_TYPE_INTS: return ints_walk(o, s, NULL);
    case VS_TYPE_BIAS: return bias_parse(o, s, &i, &d);
    case VS_TYPE_NAMED: return named_parse(s) > 0;
    case VS_TYPE_CHOICE: return choice_has(range.words, s);
    case VS_TYPE_TEXT:
        d = (double)strlen(s);
        return d >= o->low && (o->high == 0 || d <= o->high) && vs_utf8_valid(s, strlen(s)) == strlen(s);
    default: return s[0] != '\0';
    }
}

/* value_check with words. */
static int value_explain(const struct vs_option *o, const char *value, struct vs_error *err)
{
    char range[128];
    if (value_check(o, value))
        return VS_OK;
    vs_option_range(o, range, sizeof range);
    if (o->type == VS_TYPE_TEXT && o->high > 0 && (double)strlen(value) > o->high)
        return vs_error_set(err, VS_E_INVALID, "--%s: the text is longer than %.0f bytes", o->name, o->high);
    if (o->type == VS_TYPE_TEXT && value[0])
        return vs_error_set(err, VS_E_INVALID, "--%s: the text is not valid UTF-8", o->name);
    if (range[0])
        return vs_error_set(err, VS_E_INVALID, "--%s: '%.60s' is not %s", o->name, value, range);
    return vs_error_set(err, VS_E_INVALID, "--%s: the value is empty", o->name);
}

/* word: as it was written, with a value perhaps. */
static int unknown(const struct vs_command *command, const char *word, struct vs_error *err)
{
    const char *name = word + strspn(word, "-");
    char plain[32];
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(name, "="), name);
    uint64_t bit = VS_COMMAND_BIT(vs_command_id(command));
    const char *near = NULL;
    unsigned best = 3;
    if (word[0] == '-' && word[1] != '-')                      /* one letter: no other is like it */
        return vs_error_set(err, VS_E_INVALID, "unknown option %.80s", word);
    for (int i = 0; i < VS_OPT_COUNT; i++) {
        if (strcmp(vs_options[i].name, plain) == 0 && !vs_options[i].hidden)
            return vs_error_set(err, VS_E_INVALID, "`veritas %s` does not take --%s", command->name, plain);
        if ((vs_options[i].commands & bit) && !vs_options[i].hidden && vs_word_unlike(plain, vs_options[i].name) < best) {
            best = vs_word_unlike(plain, vs_options[i].name);
            near = vs_options[i].name;
        }
    }
    const char *dashes = word[0] == '-' ? "--" : "";           /* as it was typed: /set takes names without them */
    return near ? vs_error_set(err, VS_E_INVALID, "unknown option %.80s; did you mean %s%s?", word, dashes, near)
                : vs_error_set(err, VS_E_INVALID, "unknown option %.80s", word);
}

static int add(struct vs_args *args, int id, const char *value, struct vs_error *err)
{
    const char **grown = realloc(args->option[id].v, (size_t)(args->option[id].n + 1) * sizeof *grown);
    if (!grown)
        return vs_error_set(err, VS_E_NOMEM, "out of memory reading the options");
    args->option[id].v = grown;
    grown[args->option[id].n++] = value;
    return VS_OK;
}

/* A number that is easily typed again. */
static const char *draw(struct vs_args *args, struct vs_error *err)
{
    uint32_t seed;
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) {
        vs_error_set(err, VS_E_SYSTEM, "the system gives no random numbers: %s", strerror(errno));
        return NULL;
    }
    snprintf(args->drawn, sizeof args->drawn, "%u", seed);
    return args->drawn;
}

int vs_args_parse(struct vs_args *args, const struct vs_command *command, int argc, char **argv, struct vs_error *err)
{
    memset(args, 0, sizeof *args);
    args->command = command;
    args->v = calloc((size_t)argc + 1, sizeof *args->v);
    if (!args->v)
        return vs_error_set(err, VS_E_NOMEM, "out of memory reading the options");
    uint64_t bit = VS_COMMAND_BIT(vs_command_id(command));
    bool only_words = false;
    struct vs_error first = { 0 };           /* kept while we look on for --help */

    for (int at = 0; at < argc; at++) {
        char *word = argv[at];
        if (only_words || word[0] != '-' || word[1] == '\0') {
            args->v[args->n++] = word;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            only_words = true;
            continue;
        }
        bool is_long = word[1] == '-';
        const char *name = word + (is_long ? 2 : 1);
        size_t length = is_long ? strcspn(name, "=") : 1;
        int id;
        for (id = 0; id < VS_OPT_COUNT; id++) {
            const struct vs_option *o = &vs_options[id];
            if (!(o->commands & bit))
                continue;
            if (is_long ? strlen(o->name) == length && memcmp(o->name, name, length) == 0 : o->letter && o->letter == name[0])
                break;
        }
        if (id == VS_OPT_COUNT) {
            if (!first.code)
                unknown(command, word, &first);
            continue;
        }
        const struct vs_option *o = &vs_options[id];
        const char *value = name[length] == '\0' ? NULL : name + length + (is_long ? 1 : 0);
        if (o->type == VS_TYPE_FLAG) {
            if (value && !first.code)
                vs_error_set(&first, VS_E_INVALID, "--%s takes no value", o->name);
        } else if (!value) {
            if (at + 1 == argc) {
                if (!first.code)
                    vs_error_set(&first, VS_E_INVALID, "--%s needs a value %s", o->name, o->value);
                continue;
            }
            value = argv[++at];
        }
        if (o->type != VS_TYPE_FLAG && !first.code)
            value_explain(o, value, &first);
        if (id == VS_OPT_SEED && strcmp(value, "random") == 0 && (value = draw(args, &first)) == NULL)
            continue;
        int rc = add(args, id, value ? value : "", err);
        if (rc != VS_OK)
            return rc;
    }
    if (vs_args_given(args, VS_OPT_HELP))
        return VS_OK;
    if (first.code)
        return vs_error_set(err, first.code, "%s", first.text);
    if (args->n < command->min)
        return vs_error_set(err, VS_E_INVALID, "something is missing: veritas %s %s", command->name, command->usage);
    if (command->max >= 0 && args->n > command->max)
        return vs_error_set(err, VS_E_INVALID, "'%.60s' is one argument too many: veritas %s %s", args->v[command->max],
                            command->name, command->usage);
    return VS_OK;
}

bool vs_option_is_settable(const struct vs_option *o, const struct vs_command *command)
{
    bool in_request = o->key && strncmp(o->key, "settings.", 9) != 0 && o != &vs_options[VS_OPT_SYSTEM];
    return (o->commands & VS_COMMAND_BIT(vs_command_id(command))) && (in_request || o == &vs_options[VS_OPT_TIMINGS]);
}

int vs_args_copy(struct vs_args *ret, const struct vs_args *args)
{
    struct vs_error err;
    *ret = (struct vs_args){ .command = args->command };
    memcpy(ret->drawn, args->drawn, sizeof ret->drawn);
    for (int id = 0; id < VS_OPT_COUNT; id++)
        for (int i = 0; i < args->option[id].n; i++)
            if (add(ret, id, args->option[id].v[i], &err) != VS_OK)
                return VS_E_NOMEM;
    return VS_OK;
}

/* A copy of the text that lives as long as args. */
static const char *keep(struct vs_args *args, const char *text)
{
    size_t n = 0;
    while (args->own && args->own[n])
        n++;
    char **grown = realloc(args->own, (n + 2) * sizeof *grown);
    if (!grown)
        return NULL;
    args->own = grown;
    grown[n] = strdup(text);
    grown[n + 1] = NULL;
    return grown[n];
}

int vs_args_set(struct vs_args *args, const char *name, const char *value, struct vs_error *err)
{
    const char *plain = name + strspn(name, "-");
    int id = 0;
    while (id < VS_OPT_COUNT && strcmp(vs_options[id].name, plain) != 0)
        id++;
    if (id == VS_OPT_COUNT)
        return unknown(args->command, name, err);
    const struct vs_option *o = &vs_options[id];
    if (!vs_option_is_settable(o, args->command))
        return vs_error_set(err, VS_E_INVALID, "--%s cannot be changed while the program runs", o->name);
    bool is_flag = o->type == VS_TYPE_FLAG, off = strcmp(value, "default") == 0 || (is_flag && strcmp(value, "off") == 0);
    if (is_flag && !off && value[0] && strcmp(value, "on") != 0)
        return vs_error_set(err, VS_E_INVALID, "--%s: '%.60s' is neither on nor off", o->name, value);
    if (!is_flag && !off && value_explain(o, value, err) != VS_OK)
        return VS_E_INVALID;
    const char *kept = "";
    if (!off && id == VS_OPT_SEED && strcmp(value, "random") == 0)
        kept = draw(args, err);
    else if (!off && !is_flag && !(kept = keep(args, value)))
        vs_error_set(err, VS_E_NOMEM, "out of memory");
    if (!kept)
        return err->code;
    if (off || !o->repeat)
        args->option[id].n = 0;
    return off ? VS_OK : add(args, id, kept, err);
}

int vs_args_give(struct vs_args *args, const char *name, const char *value, struct vs_error *err)
{
    int id = 0;
    while (id < VS_OPT_COUNT && strcmp(vs_options[id].name, name) != 0)
        id++;
    if (id == VS_OPT_COUNT || !(vs_options[id].commands & VS_COMMAND_BIT(vs_command_id(args->command))))
        return unknown(args->command, name, err);
    const struct vs_option *o = &vs_options[id];
    if (!o->key && !(id == VS_OPT_SOCKET && vs_command_id(args->command) == VS_COMMAND_SERVE))
        return vs_error_set(err, VS_E_INVALID, "--%s is an option of the command line only", name);
    if (value_explain(o, value, err) != VS_OK)
        return VS_E_INVALID;
    const char *kept = keep(args, value);
    return kept ? add(args, id, kept, err) : vs_error_set(err, VS_E_NOMEM, "out of memory");
}

int vs_args_fill(struct vs_args *args, const struct vs_args *from, struct vs_error *err)
{
    for (int id = 0; id < VS_OPT_COUNT; id++)
        for (int i = 0, n = args->option[id].n ? 0 : from->option[id].n; i < n; i++)
            if (add(args, id, from->option[id].v[i], err) != VS_OK)
                return VS_E_NOMEM;
    return VS_OK;
}

void vs_args_clear(struct vs_args *args)
{
    if (!args)
        return;
    for (char **text = args->own; text && *text; text++)
        free(*text);
    free(args->own);
    for (int i = 0; i < VS_OPT_COUNT; i++)
        free(args->option[i].v);
    free(args->v);
    memset(args, 0, sizeof *args);
}

bool vs_args_given(const struct vs_args *args, enum vs_option_id id)
{
    return args->option[id].n > 0;
}

const char *vs_args_text(const struct vs_args *args, enum vs_option_id id)
{
    int n = args->option[id].n;
    return n > 0 ? args->option[id].v[n - 1] : vs_options[id].preset;
}

int64_t vs_args_int(const struct vs_args *args, enum vs_option_id id)
{
    int64_t value = 0;
    const char *s = vs_args_text(args, id);
    return s && vs_integer_parse(s, &value) ? value : 0;
}

double vs_args_float(const struct vs_args *args, enum vs_option_id id)
{
    double value = 0;
    const char *s = vs_args_text(args, id);
    return s && number_parse(s, &value) ? value : 0;
}

json_t *vs_args_ints(const struct vs_args *args, enum vs_option_id id)
{
    const char *s = vs_args_text(args, id);
    json_t *array = json_array();
    if (!s || !array || !ints_walk(&vs_options[id], s, array)) {
        json_decref(array);
        return NULL;
    }
    return array;
}

/* One value as JSON; a new reference. */
static json_t *value_json(const struct vs_option *o, const char *s)
{
    uint64_t size = 0;
    int64_t i = 0;
    double d = 0;
    switch (o->type) {
    case VS_TYPE_FLAG: return json_true();
    case VS_TYPE_SIZE: return vs_size_parse(s, &size) ? json_integer((json_int_t)size) : NULL;
    case VS_TYPE_INT: return vs_integer_parse(s, &i) ? json_integer(i) : NULL;
    case VS_TYPE_FLOAT: return number_parse(s, &d) ? json_real(d) : NULL;
    case VS_TYPE_BIAS:
        if (!bias_parse(o, s, &i, &d))
            return NULL;
        /* JSON has no infinity */
        return isinf(d) ? json_pack("[I,s]", (json_int_t)i, "-inf") : json_pack("[I,f]", (json_int_t)i, d);
    default: return json_string(s);
    }
}

/* All NAME=VALUE as one object; of a name given twice the last counts. */
static json_t *named_json(const struct vs_args *args, int id)
{
    json_t *object = json_object();
    for (int i = 0; i < args->option[id].n; i++) {
        const char *s = args->option[id].v[i];
        size_t n = named_parse(s);
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)n, s);
        json_t *value = json_loads(s + n + 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
        if (json_object_set_new(object, name, value ? value : json_string(s + n + 1)) != 0)
            return json_decref(object), NULL;
    }
    return object;
}

int vs_args_json(const struct vs_args *args, const char *prefix, json_t *object)
{
    size_t skip = strlen(prefix);
    for (int id = 0; id < VS_OPT_COUNT; id++) {
        const struct vs_option option = vs_option_of((enum vs_option_id)id, args->command), *o = &option;
        bool setting = o->key && (strncmp(o->key, "settings.", 9) == 0 || strncmp(o->key, "serve.", 6) == 0);
        if (!o->key || args->option[id].n == 0 || strncmp(o->key, prefix, skip) != 0 || (skip == 0 && setting))
            continue;
        const char *key = o->key + skip, *dot = strchr(key, '.');
        json_t *into = object, *value;
        if (dot) {
            char group[32];
            snprintf(group, sizeof group, "%.*s", (int)(dot - key), key);
            into = json_object_get(object, group);
            if (!into && json_object_set_new(object, group, into = json_object()) < 0)
                return VS_E_NOMEM;
            key = dot + 1;
        }
        if (o->type == VS_TYPE_INTS) {
            value = vs_args_ints(args, (enum vs_option_id)id);
        } else if (o->type == VS_TYPE_NAMED) {
            value = named_json(args, id);
        } else if (o->repeat) {
            value = json_array();
            for (int i = 0; i < args->option[id].n; i++)
                if (json_array_append_new(value, value_json(o, args->option[id].v[i])) < 0)
                    return json_decref(value), VS_E_NOMEM;
        } else {
            value = value_json(o, vs_args_text(args, (enum vs_option_id)id));
        }
        if (json_object_set_new(into, key, value) < 0)
            return VS_E_NOMEM;
    }
    return VS_OK;
}
