// An encoder on a device, of either architecture. Planes and norms equal those of the CPU's Encoder and Decoder to the
// bit: a product's terms are fused in the same order, nothing else is fused, and lengths are summed in the same order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "binarizer/encoder.h"
#include "code/spec.h"
#include "cuda/layer.h"
#include "cuda/memory.h"
#include "cuda/vectors.h"

namespace bebr::cuda {

// What else a caller may want of each row: of each decoder the squared norm of the code's reconstruction, decoder after
// decoder; the length of the vector as the networks take it, in numpy's order. Null: not wanted.
struct EncodedNorms {
  float* reconstructed = nullptr;
  float* lengths = nullptr;
};

// What Descent is made of; gram null: codes are not optimized.
struct DescentModel {
  const float* gram = nullptr;
  uint32_t sweeps = 0, tries = 0;
};

// What Decoder is made of, of the first `planes` planes: 1 or all.
struct DecoderModel {
  const float *weight, *bias;
  uint32_t output_dim, planes;
};

// What bebr::Encoder is made of, and what vectors pass before it.
struct EncoderModel {
  Architecture architecture = Architecture::Linear;
  CodeSpec spec;
  std::vector<std::vector<Layer>> networks;
  bool normalize = false;
  // x -> skip x + adapter(x), as Binarizer._enter: of unit length before and after where `normalize`. Empty: none.
  std::vector<Layer> adapter;
  float skip = 0;
  DescentModel descent;
  std::vector<DecoderModel> decoders;
};

class Encoder {
 public:
  // Throws Error(InvalidArgument) where layers or networks do not fit one another,
  // Error(DeviceUnavailable) where there is no such device, Error(LimitExceeded) where its memory is short.
  Encoder(size_t device, const EncoderModel& model);

  const CodeSpec& spec() const noexcept { return spec_; }
  uint32_t input_dim() const noexcept { return adapter_ ? adapter_->in() : inner_dim(); }
  size_t decoders() const noexcept { return decoders_.size(); }
  size_t device() const noexcept { return device_; }

  // planes [rows, row_bytes], row format. optimize: by Descent, where there is one. Throws Error(InvalidArgument)
  // naming a row on the device that is not finite, Error(LimitExceeded) where memory is short. Threads: one call at a
  // time, the others wait.
  void encode(const Vectors& x, bool optimize, uint8_t* planes, const EncodedNorms& wanted) const;

 private:
  struct Norm {
    DeviceLayer layer;
    uint32_t planes, count;
    bool of_product;  // v times the product, and `constant`; else the product's own length
    float constant;
  };
  struct Room {  // of a batch
    DeviceArray<uint8_t> x, planes;
    DeviceArray<float> given, inner, unit, z, v, error, product, norms, lengths;
    std::array<DeviceArray<float>, 2> between;
    DeviceArray<uint32_t> not_finite;
  };
  Room& room_for(size_t rows, const Vectors& x, const EncodedNorms& wanted) const;
  size_t bytes_of_row(const Vectors& x) const noexcept;
  uint32_t inner_dim() const noexcept { return networks_.front().in(); }
  bool recurrent() const noexcept { return networks_.size() > 1; }
  size_t widest() const noexcept;   // of the products of a row
  size_t between() const noexcept;  // of what lies between layers
  void adapt(Room& room, uint32_t rows) const;
  void make_codes(Room& room, uint32_t rows, bool optimize) const;
  void make_planes(Room& room, uint32_t rows) const;
  void make_norms(Room& room, uint32_t rows) const;

  size_t device_;
  CodeSpec spec_;
  bool normalize_;
  float skip_;
  uint32_t sweeps_ = 0, tries_ = 0;
  std::vector<DeviceNetwork> networks_;  // made on the device, as all that follows
  std::optional<DeviceNetwork> adapter_;
  std::optional<DeviceLayer> gram_layer_;
  DeviceArray<float> gram_, inverse_, step_;  // DescendArgs
  std::vector<Norm> decoders_;
  mutable std::mutex mutex_;
  mutable Room room_;
  mutable size_t room_rows_ = 0;
};

}  // namespace bebr::cuda
