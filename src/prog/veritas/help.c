/* prog/veritas/help.c - --help, man pages and shell completion, all made from the two tables.
 *
 * `veritas help --man [COMMAND]` and `veritas help --completion SHELL` are run by the build (cmake/install.cmake).
 */
#include "prog/veritas/command.h"
#include "prog/veritas/term.h"

#include <stdio.h>
#include <string.h>

static bool takes(const struct vs_command *command, int id)
{
    return (vs_options[id].commands & VS_COMMAND_BIT(vs_command_id(command))) && !vs_options[id].hidden;
}

/* "-m, --model MODEL" */
static int signature(const struct vs_option *o, char *ret, size_t n)
{
    char letter[8] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    return snprintf(ret, n, "%s--%s%s%s", letter, o->name, o->value ? " " : "", o->value ? o->value : "");
}

/* Windows are from 40 to 120 columns wide; what is no terminal gets 96. */
static int width(void)
{
    int columns = vs_columns(1, 96);
    return columns < 40 ? 40 : columns > 120 ? 120 : columns;
}

/* The help sentence with range, unit and default. */
static void explain(const struct vs_option *o, char *ret, size_t n)
{
    char range[160];
    vs_option_range(o, range, sizeof range);
    size_t at = (size_t)snprintf(ret, n, "%s", o->help);
    if (range[0] && o->type != VS_TYPE_BIAS && o->type != VS_TYPE_NAMED)
        at += (size_t)snprintf(ret + at, n - at, " Takes %s%s%s.", range, o->unit ? ", in " : "", o->unit ? o->unit : "");
    if (o->preset && at < n)
        snprintf(ret + at, n - at, " Default: %s.", o->preset);
}

/* "  run          answer one prompt": what it is, from `column` on; on a line of its own where there is little room. */
static void item(const char *head, int indent, int column, const char *text)
{
    int room = width(), at = printf("%*s%s", indent, "", head);
    if (room < column + 30) {
        column = indent + 8;
        at = column;
    }
    if (at >= column) {
        putchar('\n');
        at = 0;
    } else {
        at += printf("%*s", column - at, "");
    }
    vs_wrap(text, column, room, at);
}

int vs_help_print(const struct vs_command *command)
{
    char text[1024], head[80];
    if (!command) {
        vs_wrap("veritas runs language models: locked in, and with the same bits every time.\n\n"
             "usage: veritas COMMAND [options] ...\n", 0, width(), 0);
        putchar('\n');
        for (int i = 0; i < VS_COMMAND_COUNT; i++)
            if (!strchr(vs_commands[i].name, ' '))
                item(vs_commands[i].name, 2, 15, vs_commands[i].summary);
        putchar('\n');
        vs_wrap("veritas COMMAND --help explains a command. First steps:\n\n"
             "  veritas models pull smollm2-135m-instruct\n"
             "  veritas run \"Why is the sky blue?\"", 0, width(), 0);
        return 0;
    }
    snprintf(text, sizeof text, "usage: veritas %s %s", command->name, command->usage);
    vs_wrap(text, 0, width(), 0);
    putchar('\n');
    vs_wrap(command->text, 0, width(), 0);
    printf("\nOptions:\n");
    for (int i = 0; i < VS_OPT_COUNT; i++) {
        if (!takes(command, i))
            continue;
        struct vs_option option = vs_option_of((enum vs_option_id)i, command);
        signature(&option, head, sizeof head);
        explain(&option, text, sizeof text);
        item(head, 2, 33, text);
    }
    return 0;
}

/* ---- man ---- */

/* Text for troff: no line may start with a dot or a quote, and backslash and dash are written as they mean. */
static void troff(const char *s, size_t n, bool start)
{
    for (size_t i = 0; i < n; i++) {
        if (start && (s[i] == '.' || s[i] == '\''))
            printf("\\&");
        start = s[i] == '\n';
        if (s[i] == '\\')
            printf("\\e");
        else if (s[i] == '-')
            printf("\\-");
        else
            putchar(s[i]);
    }
}

static void troff_text(const char *text)
{
    bool literal = false;
    while (*text) {
        size_t line = strcspn(text, "\n");
        if (line > 0 && (*text == ' ') != literal) {
            literal = *text == ' ';
            printf(literal ? ".PP\n.nf\n.RS 4\n" : ".RE\n.fi\n.PP\n");
        }
        if (line == 0 && !literal)
            printf(".PP\n");
        else if (line > 0) {
            const char *from = text + (literal ? strspn(text, " ") : 0);
            troff(from, (size_t)(text + line - from), true);
            putchar('\n');
        }
        text += line + (text[line] == '\n');
    }
    if (literal)
        printf(".RE\n.fi\n");
}

static void man_exit_status(void)
{
    printf(".SH EXIT STATUS\n0 done, 1 failed, 2 usage, 3 input malformed or not supported, 4 not found, 5 busy or over a limit, "
           "6 cancelled or timed out, 7 refused by a filter, 70 a process of ours died.\n");
}

static void man_environment(void)
{
    static const struct { const char *name, *text; } variables[] = {
        { "VERITAS_MODELS", "The model directory." },
        { "VERITAS_SOCKET", "The socket of the daemon." },
        { "VERITAS_KEY_FILE", "A file, readable by nobody else, with the API key under which a running daemon is asked." },
        { "VERITAS_POLICY", "The policy file of the guard." },
        { "VERITAS_SANDBOX",
          "The lowest sandbox level with which a daemon may start (min=N, 0 to 5), and what docs/SANDBOX.md says." },
        { "VERITAS_HISTORY", "The file that keeps what is typed in chats, or off." },
        { "VERITAS_HUB",
          "A port of this machine (http://127.0.0.1:PORT) that `veritas models pull hf:...` asks instead of the hub." },
        { "VERITAS_DEBUG", "When set: workers may write to standard error." },
        { "NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID", "How a service manager hears of `veritas serve`: sd_notify(3)." },
        { "CREDENTIALS_DIRECTORY", "Where a service manager put the credentials of `veritas serve` (policy key signing.key)." },
        { "NO_COLOR", "When set and not empty: no colours." },
        { "TERM", "When it is dumb: no colours, no marks around what is pasted." },
        { "HOME, XDG_CONFIG_HOME, XDG_DATA_HOME, XDG_STATE_HOME, XDG_RUNTIME_DIR",
          "Where the policy, models, the chat history and the socket lie." },
        { "SSL_CERT_FILE, https_proxy, http_proxy, all_proxy, no_proxy", "How `veritas models pull URL` reaches a server." },
        { "PIP_INDEX_URL, PIP_EXTRA_INDEX_URL, PIP_NO_INDEX, PIP_FIND_LINKS, PIP_TRUSTED_HOST, PIP_PROXY, PIP_CERT, "
          "PIP_CLIENT_CERT, PIP_DEFAULT_TIMEOUT, PIP_TIMEOUT, PIP_RETRIES, SSL_CERT_DIR, REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE",
          "Passed on to pip (`veritas models pull NAME`), with HOME where that is the user's own; no other variable of pip or "
          "Python is." },
        { "LANG, LC_ALL, LC_CTYPE", "How many columns letters take while a line is edited in a chat. Texts are always UTF-8." },
    };
    printf(".SH ENVIRONMENT\n");
    for (size_t i = 0; i < sizeof variables / sizeof *variables; i++) {
        printf(".TP\n.B %s\n", variables[i].name);
        troff(variables[i].text, strlen(variables[i].text), true);
        putchar('\n');
    }
}

static int man(const struct vs_command *command)
{
    char text[1024];
    if (!command) {
        printf(".TH VERITAS 1 \"\" \"veritas %s\" \"Veritas SDR\"\n.SH NAME\nveritas \\- run language models, locked in and "
               "deterministic\n"
               ".SH SYNOPSIS\n.B veritas\n.I COMMAND\n[options] ...\n.SH DESCRIPTION\n"
               "Runs language models in processes that can open nothing and reach no one, and gives the same bytes for the same "
               "input.\n"
               ".SH COMMANDS\n", VERITAS_VERSION);
        for (int i = 0; i < VS_COMMAND_COUNT; i++)
            printf(".TP\n.B veritas %s\n%s.\n", vs_commands[i].name, vs_commands[i].summary);
        man_environment();
        man_exit_status();
        return 0;
    }
    char page[40];
    snprintf(page, sizeof page, "veritas-%s", command->name);
    for (char *c = page; *c; c++)
        if (*c == ' ')
            *c = '-';
    printf(".TH \"");
    for (char *c = page; *c; c++)
        putchar(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
    printf("\" 1 \"\" \"veritas %s\" \"Veritas SDR\"\n.SH NAME\n", VERITAS_VERSION);
    troff(page, strlen(page), true);
    printf(" \\- %s\n.SH SYNOPSIS\n.B veritas %s\n", command->summary, command->name);
    troff(command->usage, strlen(command->usage), true);
    printf("\n.SH DESCRIPTION\n");
    troff_text(command->text);
    printf(".SH OPTIONS\n");
    for (int i = 0; i < VS_OPT_COUNT; i++) {
        const struct vs_option option = vs_option_of((enum vs_option_id)i, command), *o = &option;
        if (!takes(command, i))
            continue;
        printf(".TP\n\\fB");
        if (o->letter)
            printf("\\-%c\\fR, \\fB", o->letter);
        printf("\\-\\-");
        troff(o->name, strlen(o->name), false);
        printf("\\fR%s%s%s\n", o->value ? " \\fI" : "", o->value ? o->value : "", o->value ? "\\fR" : "");
        explain(o, text, sizeof text);
        troff(text, strlen(text), true);
        putchar('\n');
    }
    man_environment();
    man_exit_status();
    printf(".SH SEE ALSO\n.BR veritas (1)\n");
    return 0;
}

/* ---- completion ---- */

static bool completes_model(const struct vs_command *command)
{
    switch (vs_command_id(command)) {
    case VS_COMMAND_LOAD: case VS_COMMAND_UNLOAD: case VS_COMMAND_INSPECT: case VS_COMMAND_MODELS_RM: case VS_COMMAND_MODELS_PATH:
    case VS_COMMAND_MODELS_PULL: case VS_COMMAND_MODELS_VERIFY: return true;
    default: return false;
    }
}

static void choices_words(const struct vs_option *o)
{
    for (const char *c = vs_option_choices(o); *c; c++)
        putchar(*c == '|' ? ' ' : *c);
}

/* The words behind a group's name ("list pull ..."); NULL: the commands themselves. */
static void command_words(const char *group)
{
    size_t length = group ? strlen(group) : 0;
    for (int i = 0, n = 0; i < VS_COMMAND_COUNT; i++) {
        const char *name = vs_commands[i].name, *blank = strchr(name, ' ');
        if (group ? strncmp(name, group, length) == 0 && name[length] == ' ' : !blank)
            printf("%s%s", n++ ? " " : "", group ? blank + 1 : name);
    }
}

/* Has it commands of a second word: models, policy? */
static bool is_group(const struct vs_command *command)
{
    size_t n = strlen(command->name);
    for (int i = 0; i < VS_COMMAND_COUNT; i++)
        if (strncmp(vs_commands[i].name, command->name, n) == 0 && vs_commands[i].name[n] == ' ')
            return true;
    return false;
}

static void bash_completion(void)
{
    printf("# bash completion for veritas; made by `veritas help --completion bash`\n"
           "_veritas() {\n"
           "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=${COMP_WORDS[1]} words= models= files=\n"
           "    COMPREPLY=()\n"
           "    if [ \"$COMP_CWORD\" = 1 ] || { [ \"$cmd\" = help ] && [ \"$COMP_CWORD\" = 2 ] && [ \"${cur#-}\" = \"$cur\" ]; }; "
           "then COMPREPLY=($(compgen -W '");
    command_words(NULL);
    printf("' -- \"$cur\")); return; fi\n");
    for (int i = 0; i < VS_COMMAND_COUNT; i++) {
        if (!is_group(&vs_commands[i]))
            continue;
        printf("    if [ \"$cmd\" = %s ]; then\n        if [ \"$COMP_CWORD\" = 2 ]; then COMPREPLY=($(compgen -W '",
               vs_commands[i].name);
        command_words(vs_commands[i].name);
        printf("' -- \"$cur\")); return; fi\n        cmd=\"%s ${COMP_WORDS[2]}\"\n    fi\n", vs_commands[i].name);
    }
    printf("    case $prev in\n");
    for (int i = 0; i < VS_OPT_COUNT; i++) {
        const struct vs_option *o = &vs_options[i];
        if (o->type == VS_TYPE_FLAG || o->hidden)
            continue;
        printf("    --%s", o->name);
        if (o->letter)
            printf("|-%c", o->letter);
        printf(") ");
        if (o->type == VS_TYPE_CHOICE) {
            printf("COMPREPLY=($(compgen -W '");
            choices_words(o);
            printf("' -- \"$cur\"))");
        } else if (o->type == VS_TYPE_PATH) {
            printf("COMPREPLY=($(compgen -f -- \"$cur\"))");
        } else if (o->type == VS_TYPE_MODEL) {
            printf("COMPREPLY=($(compgen -W \"$(veritas models list 2>/dev/null | awk '{print $1}')\" -- \"$cur\") $(compgen -f -- "
                   "\"$cur\"))");
        }
        printf("%s", o->type == VS_TYPE_CHOICE || o->type == VS_TYPE_PATH || o->type == VS_TYPE_MODEL ? "; " : "");
        printf("return ;;\n");
    }
    printf("    esac\n    case $cmd in\n");
    for (int c = 0; c < VS_COMMAND_COUNT; c++) {
        printf("    '%s') words='", vs_commands[c].name);
        for (int i = 0; i < VS_OPT_COUNT; i++)
            if (takes(&vs_commands[c], i))
                printf("--%s ", vs_options[i].name);
        printf("'%s%s ;;\n", completes_model(&vs_commands[c]) ? " models=1" : "", vs_commands[c].max != 0 ? " files=1" : "");
    }
    printf("    esac\n"
           "    case $cur in -*) COMPREPLY=($(compgen -W \"$words\" -- \"$cur\")); return ;; esac\n"
           "    [ -z \"$models\" ] || COMPREPLY=($(compgen -W \"$(veritas models list 2>/dev/null | awk '{print $1}')\" -- "
           "\"$cur\"))\n"
           "    [ -z \"$files\" ] || COMPREPLY+=($(compgen -f -- \"$cur\"))\n"
           "}\ncomplete -o filenames -F _veritas veritas\n");
}

/* A help sentence inside single quotes of zsh (_arguments) or fish. */
static void quoted(const char *s, bool zsh)
{
    for (; *s; s++) {
        if (*s == '\'')
            printf(zsh ? "'\\''" : "\\'");
        else if (zsh && strchr("[]:", *s))
            printf("\\%c", *s);
        else if (!zsh && *s == '\\')
            printf("\\\\");
        else
            putchar(*s);
    }
}

static void zsh_completion(void)
{
    printf("#compdef veritas\n# zsh completion for veritas; made by `veritas help --completion zsh`\n"
           "_veritas_model() {\n    local -a names\n    names=(${(f)\"$(veritas models list 2>/dev/null | awk '{print $1}')\"})\n"
           "    compadd -a names\n    _files\n}\n"
           "_veritas() {\n    local cmd=$words[2]\n"
           "    if (( CURRENT == 2 )); then\n        local -a list\n        list=(\n");
    for (int i = 0; i < VS_COMMAND_COUNT; i++)
        if (!strchr(vs_commands[i].name, ' '))
            printf("            '%s:", vs_commands[i].name), quoted(vs_commands[i].summary, true), printf("'\n");
    printf("        )\n        _describe command list; return\n    fi\n");
    for (int i = 0; i < VS_COMMAND_COUNT; i++) {
        if (!is_group(&vs_commands[i]))
            continue;
        printf("    if [[ $cmd == %s ]]; then\n        if (( CURRENT == 3 )); then compadd ", vs_commands[i].name);
        command_words(vs_commands[i].name);
        printf("; return; fi\n        cmd=\"%s $words[3]\"\n        shift words; (( CURRENT-- ))\n    fi\n",
               vs_commands[i].name);
    }
    printf("    shift words; (( CURRENT-- ))\n    case $cmd in\n");
    for (int c = 0; c < VS_COMMAND_COUNT; c++) {
        printf("    '%s') _arguments", vs_commands[c].name);
        for (int i = 0; i < VS_OPT_COUNT; i++) {
            const struct vs_option option = vs_option_of((enum vs_option_id)i, &vs_commands[c]), *o = &option;
            if (!takes(&vs_commands[c], i))
                continue;
            for (int letter = 0; letter < (o->letter ? 2 : 1); letter++) {
                printf(" \\\n        '%s", o->repeat ? "*" : "");
                if (letter)
                    printf("-%c", o->letter);
                else
                    printf("--%s", o->name);
                printf("[");
                quoted(o->help, true);
                printf("]");
                if (o->type != VS_TYPE_FLAG) {
                    printf(":%s:", o->value);
                    if (o->type == VS_TYPE_CHOICE) {
                        printf("(");
                        choices_words(o);
                        printf(")");
                    } else if (o->type == VS_TYPE_PATH)
                        printf("_files");
                    else if (o->type == VS_TYPE_MODEL)
                        printf("_veritas_model");
                }
                printf("'");
            }
        }
        if (vs_command_id(&vs_commands[c]) == VS_COMMAND_HELP) {
            printf(" \\\n        '1:command:(");
            command_words(NULL);
            printf(")'");
        } else if (vs_commands[c].max != 0)
            printf(" \\\n        '*:argument:%s'", completes_model(&vs_commands[c]) ? "_veritas_model" : "_files");
        printf(" ;;\n");
    }
    printf("    esac\n}\n_veritas \"$@\"\n");
}

static void fish_completion(void)
{
    printf("# fish completion for veritas; made by `veritas help --completion fish`\n"
           "complete -c veritas -n __fish_use_subcommand -f\n");
    for (int i = 0; i < VS_COMMAND_COUNT; i++) {
        const char *blank = strchr(vs_commands[i].name, ' ');
        if (!blank)
            printf("complete -c veritas -n __fish_use_subcommand -f -a %s -d '", vs_commands[i].name);
        else
            printf("complete -c veritas -n '__fish_seen_subcommand_from %.*s' -f -a %s -d '", (int)(blank - vs_commands[i].name),
                   vs_commands[i].name, blank + 1);
        quoted(vs_commands[i].summary, false);
        printf("'\n");
    }
    for (int c = 0; c < VS_COMMAND_COUNT; c++) {
        const char *blank = strchr(vs_commands[c].name, ' ');
        const char *last = blank ? blank + 1 : vs_commands[c].name;
        for (int i = 0; i < VS_OPT_COUNT; i++) {
            const struct vs_option option = vs_option_of((enum vs_option_id)i, &vs_commands[c]), *o = &option;
            if (!takes(&vs_commands[c], i))
                continue;
            printf("complete -c veritas -n '__fish_seen_subcommand_from %s' -l %s", last, o->name);
            if (o->letter)
                printf(" -s %c", o->letter);
            if (o->type == VS_TYPE_CHOICE) {
                printf(" -x -a '");
                choices_words(o);
                printf("'");
            } else if (o->type == VS_TYPE_MODEL)
                printf(" -r -a \"(veritas models list 2>/dev/null | awk '{print \\$1}')\"");
            else if (o->type == VS_TYPE_PATH)
                printf(" -r");
            else if (o->type != VS_TYPE_FLAG)
                printf(" -x");
            printf(" -d '");
            quoted(o->help, false);
            printf("'\n");
        }
        if (vs_command_id(&vs_commands[c]) == VS_COMMAND_HELP) {
            printf("complete -c veritas -n '__fish_seen_subcommand_from help' -f -a '");
            command_words(NULL);
            printf("'\n");
        }
        if (completes_model(&vs_commands[c]))
            printf("complete -c veritas -n '__fish_seen_subcommand_from %s' -a \"(veritas models list 2>/dev/null | awk '{print "
                   "\\$1}')\"\n", last);
    }
}

int vs_command_help(const struct vs_args *args)
{
    if (vs_args_given(args, VS_OPT_COMPLETION)) {
        const char *shell = vs_args_text(args, VS_OPT_COMPLETION);
        (shell[0] == 'b' ? bash_completion : shell[0] == 'z' ? zsh_completion : fish_completion)();
        return 0;
    }
    const struct vs_command *command = NULL;
    if (args->n > 0) {
        char name[64];
        snprintf(name, sizeof name, "%.30s%s%.30s", args->v[0], args->n > 1 ? " " : "", args->n > 1 ? args->v[1] : "");
        command = vs_command_find(name);
        if (!command)
            return vs_command_unknown(name);
    }
    return vs_args_given(args, VS_OPT_MAN) ? man(command) : vs_help_print(command);
}
