/* The texts that a page carries with it, made by cmake/Embed.cmake from the files of reports/html and from Chart.js.
 * Each ends with a zero byte, and none can end the element that it stands in. Only for the page. */
#ifndef QP_HTML_ASSETS_H
#define QP_HTML_ASSETS_H

extern const char qp_page_css[];
extern const char qp_page_js[];
extern const char qp_chart_js[];
extern const char qp_chart_licence[];

#endif
