/* linear for up to eight tokens, as the middle of a fused kernel: every weight is read once, in the order in which it lies
 * in the checkpoint, through the tensor memory accelerator into shared memory, and from there into mma.sync. The bits are
 * those of linear.h: one chain over each part of K, the parts added in f32 in turn.
 *
 * A tile is 16 rows of weights, A of the product: two groups of eight, which need not be neighbours (gate and up of the same
 * channels, say), or one group alone, so that few rows spread over all multiprocessors. The tokens are the eight columns of
 * B, and those that are not there are zeros. A team of one warp for each part of K sums a tile; a block has one or more
 * teams, which take tiles in turn, and the team's first warp gets the sums.
 * Each warp has a ring of stages in shared memory. The first fill comes before the kernel waits for its predecessor, so
 * that weights are under way while that still runs; later a warp refills what it has read. After the wait the block puts x,
 * perhaps normalised, into shared memory.
 *
 * Why not loads into registers: the bytes that have to be under way would take most of them. Why boxes of 8 rows times 128
 * bytes: these the swizzle of 128 bytes makes free of bank conflicts for ldmatrix. A copy brings several of them, since a
 * warp needs long to issue one, whatever its size. */
#ifndef QP_WEIGHT_STREAM_CUH
#define QP_WEIGHT_STREAM_CUH

#include <cuda.h>

#include "dependent_launch.cuh"
#include "numerics/shared_fragments.cuh"
#include "rms_norm/rms_norm.cuh"

namespace qp {

constexpr int kStreamTokens = kTileColumns, kStreamParts = 8;
constexpr int kStreamWarps = 12; /* the most of a block */
constexpr int kBoxRows = 8, kBoxK = 64, kBoxBytes = kBoxRows * kBoxK * static_cast<int>(sizeof(qp_bf16));
constexpr int kStageBoxes = 2, kStageK = kStageBoxes * kBoxK; /* along K */
constexpr int kStageGroupBytes = kStageBoxes * kBoxBytes;     /* of eight rows */
constexpr int kRowPadding = 16; /* bytes, so that ldmatrix finds eight rows in different banks */
/* What a stage reads of a token that is not there. */
constexpr int kZeroBytes = kStageK * static_cast<int>(sizeof(qp_bf16));

/* ---- On the host. ---- */

/* A matrix of weights [rows, k] as copies of 8 * groups rows and kStageBoxes boxes along K. */
struct weight_map {
    CUtensorMap map;
};

/* For what stream_fits and an address aligned to 16 bytes; false if the driver refuses. */
inline bool make_weight_map(const qp_bf16 *weight, int64_t rows, int64_t k, int groups, weight_map *result)
{
    using encode_function = decltype(&cuTensorMapEncodeTiled);
    /* The driver's function, without linking the driver's library, which a machine without a card lacks. */
    static const encode_function encode = [] {
        void *function = nullptr;
        cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
        (void)cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
        return found == cudaDriverEntryPointSuccess ? reinterpret_cast<encode_function>(function) : nullptr;
    }();
    /* Within a box along K, from row to row, from box to box: so a copy leaves box behind box. */
    const cuuint64_t dim[3] = { kBoxK, static_cast<cuuint64_t>(rows), static_cast<cuuint64_t>(k / kBoxK) };
    const cuuint64_t pitch[2] = { static_cast<cuuint64_t>(k) * sizeof(qp_bf16), kBoxK * sizeof(qp_bf16) };
    const cuuint32_t box[3] = { kBoxK, static_cast<cuuint32_t>(kBoxRows * groups), kStageBoxes };
    const cuuint32_t step[3] = { 1, 1, 1 };
    return encode && encode(&result->map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 3, const_cast<qp_bf16 *>(weight), dim,
                            pitch, box, step, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                            CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) == CUDA_SUCCESS;
}

inline qp_status no_weight_map(const char *operation)
{
    return qp_fail(QP_DEVICE, "%s: the driver made no tensor map of the weights", operation);
}

/* How x is normalised on its way into shared memory, if it is. */
struct stream_norm {
    const qp_bf16 *weight; /* [k] */
    float factor, eps;
    int lanes; /* of the order of the mean */
};

inline stream_norm make_stream_norm(const qp_bf16 *weight, int64_t k, int64_t rows, float eps)
{
    return { weight, qp_mean_factor(k, rows), eps, static_cast<int>(qp_mean_lanes(k, rows)) };
}

/* Threads that normalise one row of four elements for each lane of the mean's order in registers: one lane each. */
constexpr int kNormThreads = 256;

/* kStreamRing bytes of a multiprocessor's shared memory are under way; the rest is for x, and for the ring of the kernel that
 * follows. A kernel's own variables count, too: they have 8 KiB. */
constexpr int kStreamRing = 96 << 10;
constexpr size_t kStreamLimit = kSharedBytes - (8 << 10);
/* A block takes at least so much, so that a multiprocessor has room for three and no more; and with few weights half of what
 * there is. Otherwise several blocks of a kernel come to lie on some multiprocessors, and others have none; and that
 * unevenness stays, since the blocks of a following kernel take the places that become free. */
constexpr int kStreamLeast = 72 << 10, kStreamHalf = 112 << 10, kFewWeights = 32 << 10;

/* The sizes of a product and of the block that computes it. All divisions and places are worked out on the host: the
 * hardware has no integer division, and what is worked out between a wait and a result costs its time. */
struct stream_shape {
    const qp_bf16 *x; /* [tokens, k] */
    int tokens, k, part;
    int tiles, groups; /* groups of eight rows in a tile: 1 or 2 */
    int parts, teams, stages;
    stream_norm norm; /* of x, on its way; without lanes: none */
    int reciprocal;   /* of parts */
    /* Places in shared memory, in bytes: behind the rings. */
    int x_row; /* from one row of x to the next */
    int x_at, zero_at, norm_weight_at, lanes_at, sums_at, barriers_at, end;

    __host__ __device__ int warps() const { return parts * teams; }
    __host__ __device__ int stage_bytes() const { return groups * kStageGroupBytes; }
    /* warp / parts, for the number of a warp. */
    __host__ __device__ int team_of(int warp) const { return warp * reciprocal >> 16; }
    /* Whether x is one row, of which each thread normalises what one lane of the mean's order has, a vector. */
    __host__ __device__ bool by_thread() const
    {
        return tokens == 1 && norm.lanes == kNormThreads && k == kNormThreads * QP_MEAN_VECTOR;
    }
    size_t shared_bytes() const { return static_cast<size_t>(end); }

    void lay_out()
    {
        const int row = k * static_cast<int>(sizeof(qp_bf16));
        reciprocal = (1 << 16) / parts + 1;
        x_row = row + kRowPadding;
        x_at = warps() * stages * stage_bytes();
        zero_at = x_at + tokens * x_row;
        norm_weight_at = zero_at + kZeroBytes;
        lanes_at = norm_weight_at + (norm.lanes && !by_thread() ? row : 0);
        sums_at = lanes_at + tokens * norm.lanes * static_cast<int>(sizeof(float));
        barriers_at = sums_at + 2 * teams * (parts - 1) * kWarp * static_cast<int>(sizeof(float4));
        end = barriers_at + warps() * stages * static_cast<int>(sizeof(uint64_t));
        const int least = x_at <= kFewWeights ? kStreamHalf : kStreamLeast;
        if (end < least) end = least;
    }
};

/* Whether this file's way can compute it at all. Each K of Qwen3 is a multiple of 128. */
inline bool stream_fits(int64_t tokens, int64_t k, int64_t part)
{
    return tokens <= kStreamTokens && k % kBoxK == 0 && part % kBoxK == 0 && k < 1 << 20 &&
           tiles_for(k, part) <= kStreamParts;
}

/* The product of x [tokens, k] with weights whose K is split into parts of `part`; rows, tiles and teams are still to be
 * chosen. For what stream_fits. */
inline stream_shape make_stream_shape(const qp_bf16 *x, int64_t tokens, int64_t k, int64_t part,
                                      const stream_norm &norm)
{
    stream_shape s = {};
    s.x = x, s.tokens = static_cast<int>(tokens), s.k = static_cast<int>(k), s.part = static_cast<int>(part);
    s.parts = static_cast<int>(tiles_for(k, part));
    s.norm = norm;
    return s;
}

/* Stages for the ring of each warp: what there is room for, but no more than the warp will fill; and at least two, so that
 * one is under way while the other is read. False if x leaves no room. */
inline bool choose_stages(stream_shape *s, int tiles_of_team, int ring)
{
    const int needed = static_cast<int>(tiles_for(s->part < s->k ? s->part : s->k, kStageK)) * tiles_of_team;
    const int least = needed < 2 ? needed : 2, wanted = ring / (s->warps() * s->stage_bytes());
    s->stages = wanted < least ? least : wanted < needed ? wanted : needed;
    for (s->lay_out(); s->stages > least && s->shared_bytes() > kStreamLimit; s->lay_out()) s->stages--;
    return s->shared_bytes() <= kStreamLimit;
}

/* A shape for `rows` rows of weights in tiles of 8 * groups, on as many multiprocessors as possible, and its blocks. */
inline bool choose_stream_shape(stream_shape *s, int64_t rows, int groups, int ring, unsigned *blocks)
{
    s->groups = groups;
    s->tiles = static_cast<int>(tiles_for(rows, kBoxRows * groups));
    const int most = kStreamWarps / s->parts, wanted = static_cast<int>(tiles_for(s->tiles, kMultiprocessors));
    for (s->teams = wanted < most ? wanted : most > 1 ? most : 1; s->teams > 0; s->teams--) {
        const int64_t at_once = tiles_for(s->tiles, s->teams);
        *blocks = static_cast<unsigned>(at_once <= 2 * kMultiprocessors ? at_once : kMultiprocessors);
        if (choose_stages(s, static_cast<int>(tiles_for(s->tiles, static_cast<int64_t>(*blocks) * s->teams)),
                          *blocks > kMultiprocessors ? ring / 2 : ring))
            return true;
    }
    return false; /* x leaves no room */
}

/* Threads of its blocks. Those beyond the warps that stream help with x; but the fewer, the more of the following kernels fit
 * beside them, and fetch their weights. */
inline unsigned stream_threads(const stream_shape &s)
{
    constexpr int kFew = 4, kMany = kNormThreads / kWarp, kLong = 8192; /* warps; elements to copy */
    const int least = (s.norm.lanes ? s.k >= kNormThreads * QP_MEAN_VECTOR : s.tokens * s.k >= kLong) ? kMany : kFew;
    return static_cast<unsigned>((s.warps() > least ? s.warps() : least) * kWarp);
}

inline launch_shape stream_launch(const stream_shape &s, unsigned blocks)
{
    return { blocks, stream_threads(s), s.shared_bytes(), 1 };
}

/* ---- On the device: instructions. ---- */

__device__ __forceinline__ void barrier_init(uint32_t barrier)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(barrier) : "memory");
}

/* Arrives, and makes the phase wait for so many bytes. */
__device__ __forceinline__ void barrier_expect(uint32_t barrier, int bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}

/* Whether a phase has ended. */
__device__ __forceinline__ bool barrier_has_ended(uint32_t barrier, int parity)
{
    uint32_t ended;
    asm volatile("{\n"
                 ".reg .pred ended;\n"
                 "mbarrier.test_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
                 "selp.u32 %0, 1, 0, ended;\n"
                 "}\n"
                 : "=r"(ended)
                 : "r"(barrier), "r"(parity)
                 : "memory");
    return ended;
}

/* Waits for the end of a phase. The loop is the assembler's own, so that the compiler sees no branch that a warp could
 * diverge at. */
__device__ __forceinline__ void barrier_wait(uint32_t barrier, int parity)
{
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@!done bra again;\n"
                 "}\n" ::"r"(barrier),
                 "r"(parity)
                 : "memory");
}

/* Fetches the map itself, which the first copy would wait for. */
__device__ __forceinline__ void prefetch_map(const weight_map *map)
{
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map->map) : "memory");
}

/* A copy's boxes from column k and row `row` on, which others will not want again. What lies outside of the matrix is zero. */
__device__ __forceinline__ void fetch_boxes(uint32_t to, const weight_map *from, int k, int row, uint32_t barrier)
{
    constexpr uint64_t kEvictFirst = 0x12f0000000000000ull; /* as createpolicy.fractional makes it */
    asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.L2::cache_hint "
                 "[%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(to),
                 "l"(&from->map), "r"(0), "r"(row), "r"(k / kBoxK), "r"(barrier), "l"(kEvictFirst)
                 : "memory");
}

/* The same value, but computed here and kept in a register: the compiler would rather compute it again wherever it is used,
 * the inside of a chain included. */
__device__ __forceinline__ uint32_t kept(uint32_t value)
{
    asm volatile("" : "+r"(value));
    return value;
}

/* The threads of a team wait for each other; barrier 0 is the block's. */
__device__ __forceinline__ void team_barrier(int team, int warps)
{
    asm volatile("bar.sync %0, %1;" ::"r"(team + 1), "r"(warps * kWarp) : "memory");
}

/* ---- On the device: the product. ---- */

/* Where the rows of a tile, or half of them, come from. */
struct tile_rows {
    const weight_map *map;
    int row; /* the first */
};

/* Tiles of one matrix after the other. */
template <int kGroups> struct consecutive_rows {
    static constexpr int kCopies = 1;
    const weight_map *map;

    __device__ tile_rows operator()(int tile, int) const { return { map, tile * kGroups * kBoxRows }; }
};

/* Where a stage's weights come from: a tile, and of the part of K from `begin` on the stage `number`, of so many. */
struct place_of_stage {
    int tile, step, begin, stages, number;

    __device__ place_of_stage() {}
    __device__ place_of_stage(int tile, int begin, int end, int step)
        : tile(tile), step(step), begin(begin), stages((end - begin + kStageK - 1) / kStageK), number(0)
    {
    }
    /* To the stage that is fetched `count` stages later. */
    __device__ void advance(int count)
    {
#pragma unroll 1
        for (number += count; number >= stages; tile += step) number -= stages;
    }
    __device__ int k() const { return begin + number * kStageK; }
};

/* What a lane holds of A and B for the elements of K of a stage: for each block, and for each two. */
constexpr int kStageSteps = kStageK / QP_BLOCK_K, kBoxSteps = kBoxK / QP_BLOCK_K;
struct stage_fragments {
    uint32_t a[kStageSteps][4], b[kStageSteps / 2][4];
};

/* One block's share of a product; every thread of the block makes one, and they call its functions together. kGroups is the
 * shape's. Rows gives the rows of a tile, all together or, with kCopies = 2, each group: tile_rows operator()(int tile,
 * int copy). */
template <int kGroups, class Rows> class weight_stream {
public:
    /* Sets up, and starts fetching. `shared` is the block's dynamic shared memory, aligned to kBoxBytes. `first` is the first
     * tile of the block's first team, `step` how far each team's next one is. Warps beyond the shape's have no tile. */
    __device__ weight_stream(const stream_shape &shape, const Rows &rows, unsigned char *shared, int first, int step)
        : s(shape), rows(rows), memory(shared), base(shared_address(shared)), step(step)
    {
        if (lane() == 0 && warp < kCopies) prefetch_map(rows(first, warp).map);
        team = s.team_of(warp), rank = warp - team * s.parts;
        begin = rank * s.part, end = min(begin + s.part, s.k);
        tile = team < s.teams ? first + team : s.tiles;
        if (lane() == 0 && warp < s.warps())
#pragma unroll 1 /* here and below: code that is not in the cache yet takes longer to come than to run */
            for (int i = 0; i < s.stages; i++) barrier_init(barrier_of(warp, i));
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        __syncthreads();

        /* x and the norm's weight first, into L2: behind the weights they would wait for long. If x is not complete yet, L2 gets
         * the rest, too. */
        prefetch(s.x, s.tokens * s.k);
        if (s.norm.lanes) prefetch(s.norm.weight, s.k);

        /* A copy takes long to issue, so all warps do the first fill: the first stages of each, the second, ... */
        const int warps = threads() / kWarp;
#pragma unroll 1
        for (int to = warp, stage = 0; lane() == 0; to += warps) {
            for (; to >= s.warps(); to -= s.warps()) stage++;
            if (stage >= s.stages) break;
            const int of = s.team_of(to), own_begin = (to - of * s.parts) * s.part;
            place_of_stage at(first + of, own_begin, min(own_begin + s.part, s.k), step);
            at.advance(stage);
            if (at.tile < s.tiles) fetch(to, stage, at);
        }
        __syncwarp();
        next = place_of_stage(tile, begin, end, step); /* what the warp itself fetches after that */
        next.advance(s.stages);

        /* Warps that share a row of x when it is normalised: a power of two. */
        while ((2 << row_shift) * s.tokens <= warps) row_shift++;

        /* Lane l names row l % 8 of matrix l / 8: of A the rows 0 to 7 and 8 to 15 of the first half of a block, then of the
         * second; of B the four halves of two blocks. With one group a tile its rows are also the second eight of A, whose
         * sums nobody takes. The hardware has exchanged the 16-byte pieces of a row by the row's number. */
        const int row = lane() % 8, second = kGroups > 1 ? lane() / 8 % 2 : 0, high = lane() / 16;
#pragma unroll
        for (int i = 0; i < kBoxSteps; i++)
            a_lane[i] = kept(second * kGroupStride + row * (kBoxBytes / kBoxRows) + (((2 * i + high) ^ row) << 4));
        b_mask = row < s.tokens ? ~0u : 0u;
        b_lane = kept(base + (row < s.tokens ? s.x_at + row * s.x_row + (lane() / 8 << 4) : s.zero_at));
        ring = kept(stage_of(warp, 0)), barriers = kept(barrier_of(warp, 0));
    }

    /* Of the warp's team; one past the last one if there is none. */
    __device__ int first_tile() const { return tile; }

    /* Before the wait for the predecessor, too: the weight of the norm, and zeros for the tokens that are not there. */
    __device__ void prepare_to_normalise()
    {
        if (s.by_thread()) {
            if (thread() < kNormThreads) own_weight = reinterpret_cast<const vector4 *>(s.norm.weight)[thread()];
        } else {
#pragma unroll 1
            for (int i = thread(); i < s.k / kVector; i += threads())
                copy_async(at<vector8>(s.norm_weight_at) + i, reinterpret_cast<const vector8 *>(s.norm.weight) + i);
        }
        prepare();
    }
    __device__ void prepare()
    {
#pragma unroll 1
        for (int i = thread(); i < kZeroBytes / static_cast<int>(sizeof(vector8)); i += threads())
            at<vector8>(s.zero_at)[i] = vector8{};
    }

    /* Waits for the predecessor, then calls then(), which may fetch what else is needed, and puts x into shared memory. */
    template <class Then> __device__ void take_x(Then then)
    {
        wait_for_predecessor();
        for (int row = 0; row < s.tokens; row++)
#pragma unroll 1
            for (int i = thread(); i < s.k / kVector; i += threads())
                copy_async(x_row(row) + i,
                           reinterpret_cast<const vector8 *>(s.x + static_cast<int64_t>(row) * s.k) + i);
        then();
        group_copies();
        all_there = all_is_there();
        wait_for_copies<0>();
        __syncthreads();
    }

    /* The same, and normalises it. */
    template <class Then> __device__ void take_normalised_x(Then then)
    {
        if (!s.by_thread()) {
            take_x(then);
            normalise();
            return;
        }
        wait_for_predecessor();
        uint2 x = {};
        if (thread() < kNormThreads) x = __ldcg(reinterpret_cast<const uint2 *>(s.x) + thread());
        then();
        all_there = all_is_there();
        normalise_by_thread(reinterpret_cast<const vector4 &>(x));
    }

    /* Sums the block's tiles, and calls epilogue(tile, sum) with the accumulators of mma.sync (block_fma.cuh) in the first
     * warp of each team. */
    template <class Epilogue> __device__ void run(Epilogue epilogue)
    {
        for (int turn = 0; tile < s.tiles; tile += step, turn++) {
            float sum[4] = {};
            if (all_there)
                chain_of_all(sum);
            else
                chain_by_stages(sum);
            if (s.parts > 1) {
                float4 *sums = at<float4>(s.sums_at) + (turn % 2 * s.teams + team) * (s.parts - 1) * kWarp + lane();
                if (rank) sums[(rank - 1) * kWarp] = make_float4(sum[0], sum[1], sum[2], sum[3]);
                team_barrier(team, s.parts);
                if (rank) continue;
                for (int part = 1; part < s.parts; part++) {
                    const float4 more = sums[(part - 1) * kWarp];
                    sum[0] = __fadd_rn(sum[0], more.x), sum[1] = __fadd_rn(sum[1], more.y);
                    sum[2] = __fadd_rn(sum[2], more.z), sum[3] = __fadd_rn(sum[3], more.w);
                }
            }
            epilogue(tile, sum);
        }
    }

private:
    static constexpr int kVector = 8, kStageBytes = kGroups * kStageGroupBytes;
    static constexpr int kCopies = Rows::kCopies, kCopyBytes = kStageBytes / kCopies;
    /* In a stage, from box to box along K, and from one group of rows to the other. */
    static constexpr int kBoxStride = kCopyBytes / kStageBoxes, kGroupStride = kCopies > 1 ? kCopyBytes : kBoxBytes;
    static constexpr int kBarrierBytes = static_cast<int>(sizeof(uint64_t));
    using vector8 = vector<kVector>;
    using vector4 = vector<QP_MEAN_VECTOR>;

    /* rms_norm of each row of x. All threads share the lanes of the mean's order. Then each warp folds them (M4) for the row
     * of which it normalises a share: its lane l first the lanes l, l + 32, ..., so that only the last folds are between
     * threads. */
    __device__ void normalise()
    {
        float *sums = at<float>(s.lanes_at);
        for (int row = 0; row < s.tokens; row++)
            for (int i = thread(); i < s.norm.lanes; i += threads())
                sums[row * s.norm.lanes + i] =
                    mean_lane_sum(squares{ reinterpret_cast<const qp_bf16 *>(x_row(row)), true }, s.k, i, s.norm.lanes);
        __syncthreads();
        const int share = (warp & ((1 << row_shift) - 1)) * kWarp + lane(), shares = kWarp << row_shift;
        for (int row = warp >> row_shift; row < s.tokens; row += threads() / kWarp >> row_shift) {
            const float scale = scale_of<QP_MEAN_MAX_LANES>(sums + row * s.norm.lanes);
#pragma unroll 1
            for (int i = share; i < s.k / kVector; i += shares) {
                const vector8 weight = at<vector8>(s.norm_weight_at)[i];
                vector8 x = x_row(row)[i];
#pragma unroll
                for (int j = 0; j < kVector; j++) x.at[j] = rms_norm_element(x.at[j], weight.at[j], scale);
                x_row(row)[i] = x;
            }
        }
        __syncthreads();
    }

    /* The same of one row of which each thread has a lane's only vector. */
    __device__ void normalise_by_thread(vector4 x)
    {
        float *sums = at<float>(s.lanes_at);
        if (thread() < kNormThreads) sums[thread()] = squares::sum_of(x);
        __syncthreads();
        if (thread() < kNormThreads) {
            const float scale = scale_of<kNormThreads>(sums);
#pragma unroll
            for (int i = 0; i < QP_MEAN_VECTOR; i++) x.at[i] = rms_norm_element(x.at[i], own_weight.at[i], scale);
            reinterpret_cast<vector4 *>(x_row(0))[thread()] = x;
        }
        __syncthreads();
    }

    /* Of a warp: M4, R2 and R3, from the sums of all lanes of a row, at most kMost. */
    template <int kMost> __device__ float scale_of(const float *sums) const
    {
        float sum[kMost / kWarp];
#pragma unroll
        for (int i = 0; i < kMost / kWarp; i++) sum[i] = i * kWarp < s.norm.lanes ? sums[i * kWarp + lane()] : 0.0f;
        fold_halves<kMost / kWarp / 2>(sum, s.norm.lanes);
        return rms_norm_scale(fold_warp_for_all(sum[0]), s.norm.factor, s.norm.eps);
    }

    /* M4 down to the lanes of a warp. */
    template <int kHalf, int kMost> __device__ static void fold_halves(float (&sum)[kMost], int lanes)
    {
        if constexpr (kHalf > 0) {
            if (kHalf * kWarp < lanes)
#pragma unroll
                for (int i = 0; i < kHalf; i++) sum[i] = __fadd_rn(sum[i], sum[i + kHalf]);
            fold_halves<kHalf / 2>(sum, lanes);
        }
    }

    __device__ static int thread() { return static_cast<int>(threadIdx.x); }
    __device__ static int threads() { return static_cast<int>(blockDim.x); }
    __device__ static int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
    template <class T> __device__ T *at(int place) const { return reinterpret_cast<T *>(memory + place); }
    __device__ vector8 *x_row(int row) const { return at<vector8>(s.x_at + row * s.x_row); }

    __device__ uint32_t stage_of(int warp, int stage) const { return base + (warp * s.stages + stage) * kStageBytes; }
    __device__ uint32_t barrier_of(int warp, int stage) const
    {
        return base + s.barriers_at + (warp * s.stages + stage) * kBarrierBytes;
    }

    /* Into L2, by all threads. */
    __device__ static void prefetch(const qp_bf16 *from, int count)
    {
        constexpr int kLine = 128 / static_cast<int>(sizeof(qp_bf16));
#pragma unroll 1
        for (int i = thread() * kLine; i < count; i += threads() * kLine)
            asm volatile("prefetch.global.L2 [%0];" ::"l"(from + i) : "memory");
    }

    /* One thread: fills a stage of a warp's ring. */
    __device__ void fetch(int to_warp, int stage, const place_of_stage &at)
    {
        const uint32_t to = stage_of(to_warp, stage), barrier = barrier_of(to_warp, stage);
        barrier_expect(barrier, kStageBytes);
#pragma unroll
        for (int copy = 0; copy < kCopies; copy++) {
            const tile_rows from = rows(at.tile, copy);
            fetch_boxes(to + copy * kCopyBytes, from.map, at.k(), from.row, barrier);
        }
    }

    /* The warp has read a stage: fills it again, if there is more to come. */
    __device__ void release(int stage)
    {
        if (next.tile >= s.tiles) return;
        __syncwarp();
        if (lane() == 0) fetch(warp, stage, next);
        next.advance(1);
    }

    /* Whether all that the warp will ever read has come: then its chain need not look, stage by stage. */
    __device__ bool all_is_there() const
    {
        bool there = tile < s.tiles && next.tile >= s.tiles;
        for (int i = lane(); there && i < s.stages; i += kWarp)
            there = barrier_has_ended(barriers + i * kBarrierBytes, 0);
        return __all_sync(kWholeWarp, there);
    }

    /* The fragments that the block `i` of a stage is the first to need; the stage's elements of x are `offset` bytes into
     * their rows. */
    __device__ __forceinline__ void load(stage_fragments &f, int i, int stage, uint32_t offset) const
    {
        load_matrices(f.a[i], ring + stage * kStageBytes + i / kBoxSteps * kBoxStride + a_lane[i % kBoxSteps]);
        if (i % 2 == 0)
            load_matrices(f.b[i / 2], b_lane + (offset & b_mask) + i * QP_BLOCK_K * static_cast<int>(sizeof(qp_bf16)));
    }

    __device__ __forceinline__ static void multiply(float (&sum)[4], const stage_fragments &f, int i)
    {
        const uint32_t b[2] = { f.b[i / 2][i % 2 * 2], f.b[i / 2][i % 2 * 2 + 1] };
        block_fma(sum, f.a[i], b);
    }

    /* The warp's part of one tile. Each block waits for the one before it; in between, the fragments of the block kAhead
     * places further on are loaded. */
    static constexpr int kAhead = kStageSteps - 2, kStepBytes = kStageK * static_cast<int>(sizeof(qp_bf16));

    /* All stages are there, and in their order: the loads run ahead from one to the next. */
    __device__ void chain_of_all(float (&sum)[4])
    {
        stage_fragments f;
        uint32_t offset = begin * static_cast<int>(sizeof(qp_bf16));
        int left = end - begin;
#pragma unroll
        for (int i = 0; i < kAhead; i++) load(f, i, place, offset);
        for (; left > kStageK; left -= kStageK) {
#pragma unroll
            for (int i = 0; i < kStageSteps - kAhead; i++) {
                multiply(sum, f, i);
                load(f, i + kAhead, place, offset);
            }
            place++, offset += kStepBytes;
#pragma unroll
            for (int i = kStageSteps - kAhead; i < kStageSteps; i++) {
                multiply(sum, f, i);
                load(f, i + kAhead - kStageSteps, place, offset);
            }
        }
#pragma unroll
        for (int i = kAhead; i < kStageSteps; i++)
            load(f, i, place, offset); /* not multiplied if it is not of this part */
#pragma unroll
        for (int i = 0; i < kStageSteps; i++)
            if (i * QP_BLOCK_K < left) multiply(sum, f, i);
        place++;
    }

    /* Each stage is given back before the next one is waited for: of two, one would otherwise always be idle. */
    __device__ void chain_by_stages(float (&sum)[4])
    {
        uint32_t offset = begin * static_cast<int>(sizeof(qp_bf16));
        for (int left = end - begin; left > 0; left -= kStageK, offset += kStepBytes) {
            stage_fragments f;
            barrier_wait(barriers + place * kBarrierBytes, parity);
#pragma unroll
            for (int i = 0; i < kAhead; i++) load(f, i, place, offset);
#pragma unroll
            for (int i = 0; i < kStageSteps; i++) {
                if (i * QP_BLOCK_K < left) multiply(sum, f, i);
                if (i + kAhead < kStageSteps) load(f, i + kAhead, place, offset);
            }
            release(place);
            if (++place == s.stages) place = 0, parity ^= 1;
        }
    }

    const stream_shape &s;
    const Rows rows;
    unsigned char *const memory; /* the block's */
    const uint32_t base;
    uint32_t ring, barriers;    /* of the warp's stages and their barriers */
    uint32_t a_lane[kBoxSteps]; /* of each block of a box: where the lane's row of a matrix is in it */
    uint32_t b_lane, b_mask;    /* the lane's row of x, or of zeros, which has no further elements */
    /* Of lane 0, so that the compiler knows them to be the whole warp's, and a branch on them to be no divergence. */
    const int warp = __shfl_sync(kWholeWarp, thread() / kWarp, 0);
    int tile, step, team, rank, begin, end;
    place_of_stage next; /* what the warp fetches next */
    bool all_there = false;
    vector4 own_weight = {};   /* of the norm, by_thread */
    int row_shift = 0;         /* 2^row_shift warps share a row of x when it is normalised */
    int place = 0, parity = 0; /* of the stage that is read next */
};

} // namespace qp

#endif
