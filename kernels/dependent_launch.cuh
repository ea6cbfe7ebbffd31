/* Programmatic dependent launch: a kernel whose blocks may start while the kernel before it in the stream still runs.
 * Until it has waited, it may only do what does not depend on that kernel: fetch weights, set up barriers.
 *
 * The rule that makes it safe: every kernel launched by launch_dependent calls wait_for_predecessor in every thread that
 * later reads or writes what other kernels write or read. The predecessor has then ended and its writes are visible; and
 * since it had waited in its turn, so have all before it. A kernel launched in the ordinary way starts when all before it
 * have ended, and ends before a dependent one passes its wait. allow_successor may come at any time, also before the wait.
 * What was written before the last ordinary launch is there without a wait: so attention fetches the keys of earlier passes
 * early, since each pass begins with an ordinary launch, and each replay of a graph when all before it has ended.
 * Source: CUDA Programming Guide, "Programmatic Dependent Launch and Synchronization"; PTX ISA, griddepcontrol. */
#ifndef QP_DEPENDENT_LAUNCH_CUH
#define QP_DEPENDENT_LAUNCH_CUH

#include "cuda.cuh"

namespace qp {

__device__ __forceinline__ void wait_for_predecessor() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
__device__ __forceinline__ void allow_successor() { asm volatile("griddepcontrol.launch_dependents;" ::: "memory"); }

constexpr size_t kSharedBytes = 227 << 10; /* that a block may have, its own variables included */

struct launch_shape {
    dim3 grid, block;
    size_t shared_bytes; /* dynamic */
    unsigned cluster;    /* blocks of a cluster, along x; 1: none */
};

/* Enqueues it; the status is that of the launch, as `launched` gives it. */
template <class... Parameter, class... Argument>
qp_status launch_dependent(const qp_call *call, const char *operation, void (*kernel)(Parameter...),
                           const launch_shape &shape, Argument &&...arguments)
{
    cudaLaunchAttribute attributes[2] = {};
    attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[0].val.programmaticStreamSerializationAllowed = 1;
    attributes[1].id = cudaLaunchAttributeClusterDimension;
    attributes[1].val.clusterDim.x = shape.cluster;
    attributes[1].val.clusterDim.y = attributes[1].val.clusterDim.z = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = shape.grid;
    config.blockDim = shape.block;
    config.dynamicSmemBytes = shape.shared_bytes;
    config.stream = stream_of(call);
    config.attrs = attributes;
    config.numAttrs = shape.cluster > 1 ? 2 : 1;
    if (shape.shared_bytes) /* without it, a kernel may have 48 KiB, those that it declares included */
        (void)cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(shape.shared_bytes));
    (void)cudaLaunchKernelEx(&config, kernel, static_cast<Parameter>(arguments)...);
    return launched(operation);
}

} // namespace qp

#endif
