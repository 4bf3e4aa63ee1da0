#include "cuda/vectors.h"

#include "cuda/float_rows.h"

namespace bebr::cuda {

void bring(size_t device, const Vectors& x, uint32_t dim, float* to) {
  if (x.rows == 0) return;
  const OnDevice there(device);
  DeviceArray<float> gathered(x.rows * dim);
  DeviceArray<uint32_t> not_finite(1);  // who takes them on the host looks for himself
  not_finite.fill_bytes(0xff);
  EnterArgs args;
  args.x = DevicePointer<const uint8_t>::of_another(static_cast<const uint8_t*>(x.at));
  args.half = x.half;
  args.rows = static_cast<uint32_t>(x.rows);
  args.dim = dim;
  args.stride = x.stride;
  args.out = gathered.data();
  args.not_finite = not_finite.data();
  enter(args);
  gathered.take(to, x.rows * dim);
}

}  // namespace bebr::cuda
