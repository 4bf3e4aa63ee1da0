// A linear encoder on a device. Planes and norms equal those of the CPU's Encoder and Decoder to the bit: a product's
// terms are fused in the same order, and nothing else is fused.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "code/spec.h"
#include "cuda/layer.h"
#include "cuda/memory.h"
#include "cuda/vectors.h"

namespace bebr::cuda {

// What else a caller may want of each row: of each decoder the squared norm of the code's reconstruction, decoder after
// decoder; the squared length of the vector itself. Null: not wanted.
struct EncodedNorms {
  float* reconstructed = nullptr;
  double* squares = nullptr;
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

class Encoder {
 public:
  // As bebr::Encoder of one layer. Throws Error(DeviceUnavailable) where there is no such device, Error(LimitExceeded)
  // where its memory is short.
  Encoder(size_t device, const CodeSpec& spec, const Layer& layer, bool normalize, const DescentModel& descent,
          const std::vector<DecoderModel>& decoders);

  const CodeSpec& spec() const noexcept { return spec_; }
  uint32_t input_dim() const noexcept { return layer_->in(); }
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
    DeviceArray<float> unit, z, v, error, product, norms;
    DeviceArray<double> squares;
    DeviceArray<uint32_t> not_finite;
  };
  Room& room_for(size_t rows, const Vectors& x, const EncodedNorms& wanted) const;
  size_t bytes_of_row(const Vectors& x) const noexcept;
  size_t widest() const noexcept;  // of the products of a row
  void make_codes(Room& room, uint32_t rows, bool optimize) const;
  void make_norms(Room& room, uint32_t rows) const;

  size_t device_;
  CodeSpec spec_;
  bool normalize_;
  uint32_t sweeps_ = 0, tries_ = 0;
  std::optional<DeviceLayer> layer_, gram_layer_;  // made on the device
  DeviceArray<float> gram_, inverse_, step_;       // DescendArgs
  std::vector<Norm> decoders_;
  mutable std::mutex mutex_;
  mutable Room room_;
  mutable size_t room_rows_ = 0;
};

}  // namespace bebr::cuda
