#include "options.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_argument(const qp_option *option)
{
    return option->kind == QP_OPTION_ARGUMENT || option->kind == QP_OPTION_OPTIONAL_ARGUMENT;
}

/* The argument at a place, from 0 on; NULL if the table has no more. */
static const qp_option *find_argument(const qp_option *options, int place)
{
    for (; options->name; options++)
        if (is_argument(options) && place-- == 0) return options;
    return NULL;
}

static const qp_option *find(const qp_option *options, const char *name, size_t length)
{
    for (; options->name; options++)
        if (!is_argument(options) && strlen(options->name) == length && !memcmp(options->name, name, length))
            return options;
    return NULL;
}

static qp_status set(const qp_option *option, const char *value)
{
    char *end = NULL;
    errno = 0;
    switch (option->kind) {
    case QP_OPTION_FLAG: *(bool *)option->target = true; return QP_OK;
    case QP_OPTION_ARGUMENT:
    case QP_OPTION_OPTIONAL_ARGUMENT:
    case QP_OPTION_TEXT: *(const char **)option->target = value; return QP_OK;
    case QP_OPTION_INTEGER: {
        const long long number = strtoll(value, &end, 10);
        if (end == value || *end || errno)
            return qp_fail(QP_USAGE, "--%s takes a whole number, not '%s'", option->name, value);
        *(int64_t *)option->target = number;
        return QP_OK;
    }
    case QP_OPTION_NUMBER: {
        const double number = strtod(value, &end);
        if (end == value || *end || !isfinite(number))
            return qp_fail(QP_USAGE, "--%s takes a number, not '%s'", option->name, value);
        *(double *)option->target = number;
        return QP_OK;
    }
    case QP_OPTION_LIST: {
        qp_option_list *list = option->target;
        if (list->count == QP_OPTION_LIST_MAX)
            return qp_fail(QP_USAGE, "--%s is given more than %d times", option->name, QP_OPTION_LIST_MAX);
        list->items[list->count++] = value;
        return QP_OK;
    }
    }
    return QP_INVALID;
}

qp_status qp_options_parse(const qp_option *options, int argc, char **argv, bool *help)
{
    int arguments = 0;
    for (int i = 0; i < argc; i++) {
        const char *argument = argv[i];
        *help = !strcmp(argument, "--help");
        if (*help) return QP_OK;
        if (strncmp(argument, "--", 2) != 0 || !argument[2]) {
            const qp_option *place = *argument == '-' ? NULL : find_argument(options, arguments++);
            if (!place) return qp_fail(QP_USAGE, "'%s' is not an option; see --help", argument);
            QP_TRY(set(place, argument));
            continue;
        }
        const char *name = argument + 2, *equals = strchr(name, '=');
        const qp_option *option = find(options, name, equals ? (size_t)(equals - name) : strlen(name));
        if (!option) return qp_fail(QP_USAGE, "there is no option '%s' here; see --help", argument);
        const char *value = equals ? equals + 1 : NULL;
        if (option->kind == QP_OPTION_FLAG) {
            if (value) return qp_fail(QP_USAGE, "--%s takes no value", option->name);
        } else if (!value) {
            if (i + 1 == argc) return qp_fail(QP_USAGE, "--%s needs a value: %s", option->name, option->value);
            value = argv[++i];
        }
        QP_TRY(set(option, value));
    }
    const qp_option *missing = find_argument(options, arguments);
    if (missing && missing->kind == QP_OPTION_ARGUMENT)
        return qp_fail(QP_USAGE, "%s is missing: %s; see --help", missing->name, missing->help);
    return QP_OK;
}

void qp_options_print_usage(const qp_option *options, FILE *stream)
{
    const qp_option *argument;
    for (int i = 0; (argument = find_argument(options, i)) != NULL; i++)
        fprintf(stream, argument->kind == QP_OPTION_ARGUMENT ? " %s" : " [%s]", argument->name);
    fprintf(stream, " [OPTION ...]");
}

void qp_options_print(const qp_option *options, FILE *stream)
{
    for (; options->name; options++) {
        char left[64];
        (void)snprintf(left, sizeof left, "%s%s%s%s", is_argument(options) ? "" : "--", options->name,
                       options->value ? " " : "", options->value ? options->value : "");
        fprintf(stream, "  %-24s  %s\n", left, options->help);
    }
}
