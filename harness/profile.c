#include "profile.h"

#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../kernels/numerics/strict_fp.h"

/* ---- Measuring. ---- */

/* The rows of `above_nearest`: a function, and the bits of the first of 2^23 arguments. */
static const struct row {
    qp_special function;
    uint32_t first;
} rows[QP_PROFILE_ROWS] = { { QP_RSQRT, 0x3f800000u }, { QP_RSQRT, 0x40000000u }, { QP_EX2, 0x3f800000u } };

static float nearest(qp_special function, float x)
{
    return (float)(function == QP_RSQRT ? 1.0 / sqrt((double)x) : exp2((double)x));
}

/* Runs one of the functions over many arguments on the card, into `host`. */
static qp_status run(qp_device *device, qp_run function, const qp_call *call, void *memory, void *host, uint64_t bytes)
{
    const qp_implementation implementation = { "special functions", "card", QP_CUDA, function, qp_no_workspace };
    qp_call there = *call;
    there.out[0] = memory;
    QP_TRY(qp_device_run(device, &implementation, &there));
    return qp_device_read(device, host, memory, bytes);
}

static qp_status measure_row(qp_device *device, int row, void *memory, uint32_t *card, uint32_t *cpu,
                             qp_profile *profile)
{
    qp_call call = { .extent = { rows[row].function, rows[row].first, QP_PERIOD } };
    QP_TRY(run(device, qp_special_bits(QP_CUDA), &call, memory, card, QP_PERIOD * sizeof *card));
    call.out[0] = cpu;
    QP_TRY(qp_special_bits_cpu(&call));
    int8_t *above = profile->above_nearest + (int64_t)row * QP_PERIOD;
    for (int64_t i = 0; i < QP_PERIOD; i++) {
        const float x = qp_f32_from_bits(rows[row].first + (uint32_t)i);
        const int64_t distance = (int64_t)card[i] - (int64_t)qp_f32_bits(nearest(rows[row].function, x));
        if (distance < INT8_MIN || distance > INT8_MAX)
            return qp_fail(QP_DEVICE, "%s(%a) is %a on %s, which is no approximation",
                           qp_special_name(rows[row].function), (double)x, (double)qp_f32_from_bits(card[i]),
                           profile->device.name);
        above[i] = (int8_t)distance;
        profile->differ[row] += card[i] != cpu[i];
    }
    return QP_OK;
}

static qp_status measure_checksums(qp_device *device, int function, int chunks, void *memory, qp_profile *profile)
{
    uint64_t *sums = profile->checksums + (int64_t)function * QP_SPECIAL_CHUNKS;
    qp_call call = { .extent = { function, 0, QP_SPECIAL_CHUNKS } };
    QP_TRY(run(device, qp_special_checksums(QP_CUDA), &call, memory, sums, QP_SPECIAL_CHUNKS * sizeof *sums));
    for (int i = 0; i < chunks; i++) {
        const int64_t chunk = (int64_t)i * QP_SPECIAL_CHUNKS / chunks;
        uint64_t cpu = 0;
        call = (qp_call){ .extent = { function, chunk, 1 }, .out = { &cpu } };
        QP_TRY(qp_special_checksums_cpu(&call));
        profile->chunks_differ[function] += cpu != sums[chunk];
    }
    return QP_OK;
}

qp_status qp_profile_measure(qp_device *device, int chunks, qp_profile *profile)
{
    memset(profile, 0, sizeof *profile);
    if (qp_device_backend(device) == QP_CPU)
        return qp_fail(QP_UNSUPPORTED, "a numeric profile is one of a card; choose --backend cuda");
    profile->device = qp_device_describe(device);
    profile->chunks_compared = chunks;
    profile->above_nearest = malloc((size_t)QP_PROFILE_ROWS * QP_PERIOD);
    profile->checksums = malloc((size_t)QP_SPECIALS * QP_SPECIAL_CHUNKS * sizeof *profile->checksums);
    uint32_t *card = malloc(QP_PERIOD * sizeof *card), *cpu = malloc(QP_PERIOD * sizeof *cpu);
    void *memory = NULL;
    qp_status status = profile->above_nearest && profile->checksums && card && cpu
                           ? qp_device_allocate(device, QP_PERIOD * sizeof *card, "special functions", &memory)
                           : qp_fail(QP_NO_MEMORY, "no memory for a numeric profile");
    for (int row = 0; row < QP_PROFILE_ROWS && status == QP_OK; row++)
        status = measure_row(device, row, memory, card, cpu, profile);
    for (int function = 0; function < QP_SPECIALS && status == QP_OK; function++)
        status = measure_checksums(device, function, chunks, memory, profile);
    qp_device_free(device, memory);
    free(card);
    free(cpu);
    return status;
}

void qp_profile_close(qp_profile *profile)
{
    free(profile->above_nearest);
    free(profile->checksums);
    memset(profile, 0, sizeof *profile);
}

/* ---- Writing. Each step takes the place that a failed one left: HDF5 refuses a handle below 0 by itself. ---- */

static bool put_attribute(hid_t file, const char *name, hid_t stored, hid_t memory, const void *value)
{
    const hid_t space = H5Screate(H5S_SCALAR);
    const hid_t attribute = H5Acreate2(file, name, stored, space, H5P_DEFAULT, H5P_DEFAULT);
    const bool done = H5Awrite(attribute, memory, value) >= 0;
    if (attribute >= 0) (void)H5Aclose(attribute);
    if (space >= 0) (void)H5Sclose(space);
    return done;
}

static bool put_text(hid_t file, const char *name, const char *text)
{
    const hid_t type = H5Tcopy(H5T_C_S1);
    const bool done = H5Tset_size(type, strlen(text) + 1) >= 0 && put_attribute(file, name, type, type, text);
    if (type >= 0) (void)H5Tclose(type);
    return done;
}

static bool put_number(hid_t file, const char *name, int64_t value)
{
    return put_attribute(file, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value);
}

static bool put_dataset(hid_t file, const char *name, int rank, const hsize_t *dims, hid_t stored, hid_t memory,
                        const void *data)
{
    hsize_t chunk[2] = { 1, 1 };
    chunk[rank - 1] = dims[rank - 1] < QP_SPECIAL_CHUNK ? dims[rank - 1] : QP_SPECIAL_CHUNK;
    const hid_t space = H5Screate_simple(rank, dims, NULL), list = H5Pcreate(H5P_DATASET_CREATE);
    const bool is_set = H5Pset_chunk(list, rank, chunk) >= 0 && H5Pset_deflate(list, 9) >= 0;
    const hid_t dataset =
        is_set ? H5Dcreate2(file, name, stored, space, H5P_DEFAULT, list, H5P_DEFAULT) : H5I_INVALID_HID;
    const bool done = H5Dwrite(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
    if (dataset >= 0) (void)H5Dclose(dataset);
    if (list >= 0) (void)H5Pclose(list);
    if (space >= 0) (void)H5Sclose(space);
    return done;
}

static bool put_all(hid_t file, const qp_profile *profile, const qp_probe_unit *unit)
{
    const hsize_t rsqrt[] = { 2, QP_PERIOD }, ex2[] = { QP_PERIOD }, sums[] = { QP_SPECIALS, QP_SPECIAL_CHUNKS };
    char created[32] = "";
    const time_t now = time(NULL);
    struct tm utc;
    if (gmtime_r(&now, &utc)) (void)strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return put_text(file, "schema", "qwen3-parity-profile/1") && put_text(file, "device_name", profile->device.name) &&
           put_text(file, "created", created) &&
           put_number(file, "compute_capability", profile->device.compute_capability) &&
           put_number(file, "cuda_driver", profile->device.driver_version) &&
           put_number(file, "cuda_runtime", profile->device.runtime_version) &&
           put_number(file, "block_width", unit->width) && put_number(file, "product_bits", unit->product_bits) &&
           put_number(file, "accumulator_bits", unit->accumulator_bits) &&
           put_text(file, "cut", qp_probe_rounding_name(unit->cut)) &&
           put_text(file, "sum", qp_probe_rounding_name(unit->sum)) &&
           put_number(file, "normalised", unit->normalised) &&
           put_number(file, "subnormal_factors", unit->subnormal_factors) &&
           put_number(file, "subnormal_sums", unit->subnormal_sums) &&
           put_dataset(file, "rsqrt", 2, rsqrt, H5T_STD_I8LE, H5T_NATIVE_INT8, profile->above_nearest) &&
           put_dataset(file, "ex2", 1, ex2, H5T_STD_I8LE, H5T_NATIVE_INT8, profile->above_nearest + 2 * QP_PERIOD) &&
           put_dataset(file, "checksums", 2, sums, H5T_STD_U64LE, H5T_NATIVE_UINT64, profile->checksums);
}

qp_status qp_profile_write(const qp_profile *profile, const qp_probe_unit *unit, const char *path)
{
    (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    const hid_t file = H5Fcreate(path, H5F_ACC_EXCL, H5P_DEFAULT, H5P_DEFAULT);
    if (file < 0)
        return qp_fail(QP_IO, "cannot make the profile '%s'; does it exist already, or is there no such folder?", path);
    bool done = put_all(file, profile, unit);
    done = H5Fclose(file) >= 0 && done;
    if (done) return QP_OK;
    (void)unlink(path);
    return qp_fail(QP_IO, "cannot write the profile '%s'", path);
}
