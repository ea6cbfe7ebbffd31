/* A page for people on a terminal. Only for the writers. */
#ifndef QP_PAGE_H
#define QP_PAGE_H

#include <stdbool.h>
#include <stdio.h>

#include "../harness/environment.h"
#include "text.h"

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
static inline void page_put(const page *p, const char *text) { (void)qp_text_put_plain(text, p->stream); }

/* The same, filled up with spaces. */
static inline void page_put_padded(const page *p, const char *text, int width)
{
    for (int written = qp_text_put_plain(text, p->stream); written < width; written++) (void)fputc(' ', p->stream);
}

/* "ours": the device, and which kernels ran. */
static inline void page_put_ours(const page *p, const qp_device_facts *device, const char *backend, const char *plan,
                                 const char *only, const char *fault)
{
    page_put(p, qp_device_in_words(device).text);
    (void)fputs(", backend ", p->stream);
    page_put(p, backend);
    (void)fputs(", plan ", p->stream);
    page_put(p, plan);
    if (only) {
        (void)fputs(", only ", p->stream);
        page_put(p, only);
    }
    if (fault) {
        (void)fprintf(p->stream, ", %swith the planted fault ", page_start(p, YELLOW));
        page_put(p, fault);
        (void)fputs(page_stop(p, YELLOW), p->stream);
    }
    (void)fputc('\n', p->stream);
}

#endif
