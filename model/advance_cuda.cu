/* The end of a step of generation: its token becomes the input of the next one, without the host. */
#include "../kernels/dependent_launch.cuh"
#include "advance_cuda.h"

namespace {

__global__ void advance(qp_next_step step)
{
    qp::wait_for_predecessor();
    const int64_t token = *step.next_token, position = *step.position;
    step.predicted[position] = token;
    *step.input_id = token;
    *step.position = position + 1;
}

} // namespace

qp_status qp_cuda_advance(const qp_launch *launch, const qp_next_step *step)
{
    qp_call call = {};
    call.launch = launch;
    return qp::launch_dependent(&call, "the end of a step", advance, { dim3(1), dim3(1), 0, 1 }, *step);
}
