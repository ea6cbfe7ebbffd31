/* A folder for the files of one test program: made before the tests of a TCase, removed after them, also if a test
 * died. Add with tcase_add_unchecked_fixture(tcase, files_setup, files_teardown). */
#ifndef QP_CHECK_FILES_H
#define QP_CHECK_FILES_H

#include <check.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char files_dir[256];

/* Removes everything in the folder: files, and empty folders. */
static inline void files_clear(void)
{
    DIR *const dir = opendir(files_dir);
    if (dir == NULL) return;
    for (const struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        char path[600];
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        (void)snprintf(path, sizeof path, "%s/%s", files_dir, entry->d_name);
        if (unlink(path) != 0) (void)rmdir(path);
    }
    (void)closedir(dir);
}

static inline void files_setup(void)
{
    const char *const base = getenv("TMPDIR");
    (void)snprintf(files_dir, sizeof files_dir, "%s/qwen3-parity.XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(files_dir) == NULL) {
        perror(files_dir);
        exit(EXIT_FAILURE);
    }
}

static inline void files_teardown(void)
{
    files_clear();
    (void)rmdir(files_dir);
}

/* The path of a file in the folder. Good until the next call. */
static inline const char *files_path(const char *name)
{
    static char path[600];
    (void)snprintf(path, sizeof path, "%s/%s", files_dir, name);
    return path;
}

static inline void files_write(const char *name, const void *data, size_t bytes)
{
    FILE *const file = fopen(files_path(name), "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, bytes, file), bytes);
    ck_assert_int_eq(fclose(file), 0);
}

static inline void files_write_text(const char *name, const char *text) { files_write(name, text, strlen(text)); }

static inline void files_remove(const char *name) { (void)remove(files_path(name)); }

static inline void files_make_folder(const char *name) { ck_assert_int_eq(mkdir(files_path(name), 0700), 0); }

/* A whole file as text, malloc'ed, with a zero byte behind it. */
static inline char *files_read(const char *path, size_t *bytes)
{
    FILE *const file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s cannot be opened", path);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    const long size = ftell(file);
    ck_assert_int_ge(size, 0);
    rewind(file);
    char *const text = malloc((size_t)size + 1);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(fread(text, 1, (size_t)size, file), (size_t)size);
    text[size] = '\0';
    (void)fclose(file);
    if (bytes != NULL) *bytes = (size_t)size;
    return text;
}

static inline double files_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* Of this process alone, for limits that must hold on a busy machine, too. */
static inline double files_cpu_seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* How much slower a program is under the sanitizers, at most. */
#if defined(__SANITIZE_ADDRESS__)
#define FILES_SLOWER 10.0
#else
#define FILES_SLOWER 1.0
#endif

#endif
