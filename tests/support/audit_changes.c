/* `veritas audit verify` of a log that is changed again and again, in one process: the command's own function, for a test of each
 * byte. usage: audit-changes DIR [options of the command], with --json. A line of standard input is
 *
 *     verify                   as it is
 *     flip NAME OFFSET MASK    with a byte of this file changed
 *     cut NAME BYTES           with this file as long as that
 *
 * and is answered by a line: the exit status, and what the command prints. Afterwards the file is as it was. */
#include "prog/veritas/command.h"
#include "prog/veritas/term.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

const struct vs_command vs_commands[VS_COMMAND_COUNT] = {
    [VS_COMMAND_AUDIT_VERIFY] = { "audit verify", "[options] [DIR]", "", "", 0, 1, vs_command_audit_verify },
};

enum vs_command_id vs_command_id(const struct vs_command *command)
{
    return (enum vs_command_id)(command - vs_commands);
}

int vs_command_unknown(const char *name)
{
    return vs_usage(NULL, "no command '%s'", name);
}

static void must(bool good, const char *what)
{
    if (!good) {
        perror(what);
        exit(1);
    }
}

/* What the command prints goes to a file in memory, and from there behind its exit status. */
static void verify(const struct vs_args *args, FILE *answers, int out)
{
    char text[4096];
    must(ftruncate(out, 0) == 0 && lseek(out, 0, SEEK_SET) == 0, "answer");
    int status = vs_command_audit_verify(args);
    must(fflush(stdout) == 0, "answer");
    ssize_t n = pread(out, text, sizeof text, 0);
    must(n > 0, "answer");
    fprintf(answers, "%d %.*s", status, (int)n, text);
    must(fflush(answers) == 0, "answer");
}

static void flip(int fd, off_t at, unsigned mask)
{
    uint8_t byte;
    must(pread(fd, &byte, 1, at) == 1, "flip");
    byte ^= (uint8_t)mask;
    must(pwrite(fd, &byte, 1, at) == 1, "flip");
}

int main(int argc, char **argv)
{
    struct vs_args args;
    struct vs_error err = { 0 };
    char line[256], name[64];
    uint64_t at;
    unsigned mask;
    must(argc > 1 && vs_args_parse(&args, &vs_commands[VS_COMMAND_AUDIT_VERIFY], argc - 1, argv + 1, &err) == VS_OK,
         "usage: audit-changes DIR [options]");
    FILE *answers = fdopen(dup(STDOUT_FILENO), "w");
    int out = memfd_create("answer", 0), dir = open(argv[1], O_RDONLY | O_DIRECTORY);
    must(answers && out >= 0 && dir >= 0 && dup2(out, STDOUT_FILENO) >= 0, argv[1]);
    while (fgets(line, sizeof line, stdin)) {
        struct stat st = { 0 };
        bool is_flip = sscanf(line, "flip %63s %" SCNu64 " %u", name, &at, &mask) == 3;
        bool is_cut = sscanf(line, "cut %63s %" SCNu64, name, &at) == 2;
        must(is_flip || is_cut || strcmp(line, "verify\n") == 0, line);
        int fd = is_flip || is_cut ? openat(dir, name, O_RDWR) : -1;
        char *whole = NULL;
        must(fd < 0 || fstat(fd, &st) == 0, name);
        if (is_flip)
            flip(fd, (off_t)at, mask);
        if (is_cut) {
            must((whole = malloc((size_t)st.st_size + 1)) && pread(fd, whole, (size_t)st.st_size, 0) == st.st_size, name);
            must(ftruncate(fd, (off_t)at) == 0, name);
        }
        verify(&args, answers, out);
        if (is_flip)
            flip(fd, (off_t)at, mask);
        must(!is_cut || pwrite(fd, whole, (size_t)st.st_size, 0) == st.st_size, name);
        free(whole);
        if (fd >= 0)
            close(fd);
    }
    vs_args_clear(&args);
    return 0;
}
