/* Text of unknown origin (a prompt's name, a path, a reason) as text in a report, whatever is in it. Only for the writers.
 *
 * In every form but the first, bytes that are no UTF-8 come out as U+FFFD, control characters as their pictures (U+2400 and on; those from
 * U+0080 on, and characters that turn the direction of writing around, as U+FFFD): they would steer a terminal, break XML, or
 * show a key that is not the key. */
#ifndef QP_REPORT_TEXT_H
#define QP_REPORT_TEXT_H

#include <stdio.h>

/* A terminal: what would steer it, and what is no UTF-8, as '?'. Returns how many characters it wrote. */
int qp_text_put_plain(const char *text, FILE *stream);

/* HTML and XML, between tags and inside quoted attributes: & < > " ' as references. */
void qp_text_put_markup(const char *text, FILE *stream);

/* GitHub's Markdown, in one line, also inside a table's cell: what could be markup has a backslash before it or is a
 * reference, a line break is a space. A page has a limit, so what is behind the first 200 characters is "...". */
void qp_text_put_markdown(const char *text, FILE *stream);

/* The same in the letters of code: a <code> element, and not backticks, between which nothing can be escaped. */
void qp_text_put_markdown_code(const char *text, FILE *stream);

/* A JSON string with its quotes that may stand inside an HTML script element: < > & as \u escapes. */
void qp_text_put_script_string(const char *text, FILE *stream);

#endif
