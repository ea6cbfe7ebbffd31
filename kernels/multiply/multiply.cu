#include "../elementwise.cuh"
#include "multiply.cuh"
#include "multiply.h"

qp_status qp_multiply_cuda(const qp_call *call)
{
    const qp_multiply_args a = qp_multiply_bind(call);
    qp::launch_elementwise(call, qp::multiply_element(), a.y, a.n, a.a, a.b);
    return qp::launched("multiply");
}
