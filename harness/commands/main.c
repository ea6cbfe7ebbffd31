/* qwen3-parity: the command line. */
#include <stdlib.h>
#include <string.h>

#include "commands.h"

#if defined(__GLIBC__) && defined(_OPENMP)
/* A thread that waits for others shall soon sleep. GCC's OpenMP lets it spin for long, which on a machine with other work,
 * as CI is, takes a processor from those it waits for: a decode step beside two other programs took 538 ms in place of 409
 * (reports/published/bench-cpu.txt). The library reads this before main and before any constructor here, hence this place,
 * which glibc's loader calls before it initialises libraries. */
static void spin_briefly(int count, char **arguments, char **environment)
{
    (void)count;
    (void)arguments;
    (void)environment;
    if (!getenv("OMP_WAIT_POLICY")) (void)setenv("GOMP_SPINCOUNT", "10000", 0);
}
__attribute__((section(".preinit_array"), used)) static void (*const before_libraries)(int, char **,
                                                                                       char **) = spin_briefly;
#endif

static const qp_command *const commands[] = {
    &qp_command_verify,  &qp_command_generate, &qp_command_coherence, &qp_command_bench, &qp_command_report,
    &qp_command_compare, &qp_command_probe,    &qp_command_list,      &qp_command_info,  NULL
};

static void print_help(FILE *stream)
{
    fprintf(stream, "usage: qwen3-parity COMMAND [OPTION ...]\n\n"
                    "Says, bit for bit, whether kernels compute what PyTorch computes inside Qwen3.\n\n");
    for (int i = 0; commands[i]; i++) fprintf(stream, "  %-10s  %s\n", commands[i]->name, commands[i]->summary);
    fprintf(stream,
            "\nqwen3-parity COMMAND --help lists a command's options; --version prints the version.\n"
            "Exit codes: 0 all hold; 1 a verdict failed; 2 usage; 3 a file, device or environment is not usable;\n"
            "            4 slower than the baseline; 5 nothing was compared.\n");
}

static void print_command_help(const qp_command *command)
{
    printf("usage: qwen3-parity %s", command->name);
    qp_options_print_usage(command->options, stdout);
    printf("\n\n%s%s\n%s%s\n", command->summary, *command->details ? "\n" : "", command->details,
           *command->details ? "\n" : "");
    qp_options_print(command->options, stdout);
    printf("  %-24s  %s\n", "--help", "this text");
}

static int exit_code_of(qp_status status) { return status == QP_USAGE ? QP_EXIT_USAGE : QP_EXIT_UNUSABLE; }

static int fail(qp_status status)
{
    fflush(stdout);
    fprintf(stderr, "qwen3-parity: %s.\n", qp_last_error());
    return exit_code_of(status);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return QP_EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "help")) {
        print_help(stdout);
        return QP_EXIT_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("qwen3-parity %s\n", QP_VERSION);
        return QP_EXIT_OK;
    }
    const qp_command *command = NULL;
    for (int i = 0; commands[i]; i++)
        if (!strcmp(commands[i]->name, argv[1])) command = commands[i];
    if (!command) return fail(qp_fail(QP_USAGE, "there is no command '%s'; see --help", argv[1]));
    int exit_code = QP_EXIT_UNUSABLE;
    bool help = false;
    qp_status status = qp_options_parse(command->options, argc - 2, argv + 2, &help);
    if (help) {
        print_command_help(command);
        return QP_EXIT_OK;
    }
    if (status == QP_OK) status = command->run(&exit_code);
    if (status == QP_OK && (fflush(stdout) != 0 || ferror(stdout)))
        status = qp_fail(QP_IO, "the output could not be written");
    return status == QP_OK ? exit_code : fail(status);
}
