/* A page for people on a terminal. Only for the writers. */
#ifndef QP_PAGE_H
#define QP_PAGE_H

#include <stdbool.h>
#include <stdio.h>

typedef enum colour { PLAIN, GREEN, YELLOW, RED, DIM } colour;

typedef struct page {
    FILE *stream;
    bool color;
} page;

static inline const char *page_start(const page *p, colour c)
{
    static const char *const codes[] = { "", "\033[32m", "\033[33m", "\033[31m", "\033[2m" };
    return p->color ? codes[c] : "";
}

static inline const char *page_stop(const page *p, colour c) { return p->color && c != PLAIN ? "\033[0m" : ""; }

/* Text from a file or the command line, without what could steer a terminal. */
static inline void page_put(const page *p, const char *text)
{
    for (; *text; text++) (void)fputc((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text, p->stream);
}

#endif
