/* A warp: the threads that exchange values in one instruction. */
#ifndef QP_WARP_CUH
#define QP_WARP_CUH

namespace qp {

constexpr int kWarp = 32;
constexpr unsigned kWholeWarp = 0xffffffffu; /* the mask of an exchange that all of them take part in */

} // namespace qp

#endif
