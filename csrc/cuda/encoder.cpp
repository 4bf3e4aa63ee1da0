#include "cuda/encoder.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/error.h"
#include "binarizer/descent_grid.h"
#include "binarizer/norm_layer.h"
#include "cuda/descend.h"
#include "cuda/float_rows.h"

namespace bebr::cuda {
namespace {

constexpr size_t kMostRows = size_t{1} << 15;  // of a batch: two waves of tiles on the largest device
constexpr size_t kFewRows = 128;               // a tile: with room for fewer, an encoder is of no use
constexpr uint32_t kFinite = ~0u;

uint32_t narrow(size_t n) { return static_cast<uint32_t>(n); }

template <typename T>
void grow(DeviceArray<T>& array, size_t size) {
  if (array.size() >= size) return;
  array = {};  // gives its memory back first
  array = DeviceArray<T>(size);
}

}  // namespace

Encoder::Encoder(size_t device, const CodeSpec& spec, const Layer& layer, bool normalize, const DescentModel& descent,
                 const std::vector<DecoderModel>& decoders)
    : device_(device), spec_(spec), normalize_(normalize) {
  const uint32_t dims = spec.dims();
  if (layer.out != dims)
    fail(ErrorCode::InvalidArgument, "the encoder has " + std::to_string(layer.out) + " outputs: want " +
                                         std::to_string(dims) + ", the first width");
  const OnDevice there(device);
  layer_.emplace(layer);
  const std::vector<float> zeros(dims);
  if (descent.gram != nullptr) {
    const DescentNumbers numbers = descent_numbers(spec, descent.gram);
    const size_t stride = layer_->out_stride();
    std::vector<float> gram(dims * stride), inverse(stride), step(stride, 2.0f);
    for (size_t j = 0; j < dims; ++j) std::copy_n(descent.gram + j * dims, dims, gram.data() + j * stride);
    std::copy_n(numbers.inverse.data(), dims, inverse.data());
    std::copy_n(numbers.step.data(), dims, step.data());
    gram_ = DeviceArray<float>(gram);
    inverse_ = DeviceArray<float>(inverse);
    step_ = DeviceArray<float>(step);
    gram_layer_.emplace(Layer{descent.gram, zeros.data(), dims, dims});
    sweeps_ = descent.sweeps;
    tries_ = descent.tries;
  }
  for (const DecoderModel& decoder : decoders) {
    if (const auto norm = norm_layer(spec, decoder.weight, decoder.bias, decoder.output_dim)) {
      const Layer product{norm->gram.data(), norm->twice.data(), dims, dims};
      decoders_.push_back({DeviceLayer(product), decoder.planes, dims, true, norm->constant});
    } else {
      std::vector<float> turned(size_t{dims} * decoder.output_dim);
      for (size_t j = 0; j < dims; ++j)
        for (size_t k = 0; k < decoder.output_dim; ++k)
          turned[k * dims + j] = decoder.weight[j * decoder.output_dim + k];
      const Layer reconstruct{turned.data(), decoder.bias, dims, decoder.output_dim};
      decoders_.push_back({DeviceLayer(reconstruct), decoder.planes, decoder.output_dim, false, 0});
    }
  }
}

size_t Encoder::widest() const noexcept {
  size_t found = layer_->out_stride();
  for (const Norm& decoder : decoders_) found = std::max<size_t>(found, decoder.layer.out_stride());
  return found;
}

size_t Encoder::bytes_of_row(const Vectors& x) const noexcept {
  const size_t floats = (x.on_device ? 1 : 2) * size_t{input_dim()} + 3 * layer_->out_stride() + widest();
  return floats * sizeof(float) + spec_.row_bytes() + decoders_.size() * sizeof(float) + sizeof(double);
}

Encoder::Room& Encoder::room_for(size_t rows, const Vectors& x, const EncodedNorms& wanted) const {
  const size_t stride = layer_->out_stride();
  Room& room = room_;
  if (!x.on_device) grow(room.x, rows * input_dim() * sizeof(float));
  grow(room.unit, rows * input_dim());
  for (DeviceArray<float>* array : {&room.z, &room.v, &room.error}) grow(*array, rows * stride);
  grow(room.product, rows * widest());
  grow(room.planes, rows * spec_.row_bytes());
  if (wanted.reconstructed != nullptr) grow(room.norms, rows * decoders_.size());
  if (wanted.squares != nullptr) grow(room.squares, rows);
  grow(room.not_finite, 1);
  return room;
}

void Encoder::make_codes(Room& room, uint32_t rows, bool optimize) const {
  const uint32_t stride = layer_->out_stride();
  ApproximateArgs first{spec_, rows, stride, std::as_const(room.z).data(), {}, room.v.data(), {}};
  if (!optimize || !gram_layer_) {
    first.planes = room.planes.data();
    return approximate(first);
  }
  first.error = room.error.data();
  approximate(first);
  product({std::as_const(room.error).data(), rows, stride}, *gram_layer_, room.product.data());
  descend({spec_.dims(), stride, rows, sweeps_, tries_, gram_.data(), inverse_.data(), step_.data(),
           std::as_const(room.z).data(), room.v.data(), room.product.data()});
  approximate({spec_, rows, stride, std::as_const(room.v).data(), room.planes.data(), {}, {}});
}

void Encoder::make_norms(Room& room, uint32_t rows) const {
  const uint32_t stride = layer_->out_stride();
  for (size_t i = 0; i < decoders_.size(); ++i) {
    const Norm& decoder = decoders_[i];
    DevicePointer<const float> v = std::as_const(room.v).data();
    if (decoder.planes < spec_.planes) {
      const CodeSpec signs = CodeSpec::make(std::span(spec_.widths, decoder.planes));
      approximate({signs, rows, stride, v, {}, room.error.data(), {}});
      v = std::as_const(room.error).data();
    }
    product({v, rows, stride}, decoder.layer, room.product.data());
    norms({rows, decoder.count, stride, decoder.layer.out_stride(),
           decoder.of_product ? v : DevicePointer<const float>(), std::as_const(room.product).data(), decoder.constant,
           room.norms.data(i * rows)});
  }
}

void Encoder::encode(const Vectors& x, bool optimize, uint8_t* planes, const EncodedNorms& wanted) const {
  if (x.rows == 0) return;
  const std::lock_guard lock(mutex_);
  const OnDevice there(device_);
  const size_t needed = bytes_of_row(x), entry = x.half ? 2 : 4;
  const size_t left = free_memory() + room_rows_ * needed;
  const size_t batch = std::min({x.rows, kMostRows, left / 2 / needed});
  if (batch < std::min(x.rows, kFewRows)) fail_for_memory("encoding needs", 2 * kFewRows * needed, left);
  Room& room = room_for(batch, x, wanted);
  room_rows_ = std::max(room_rows_, batch);
  for (size_t first = 0; first < x.rows; first += batch) {
    const size_t rows = std::min(batch, x.rows - first);
    const auto* from = static_cast<const uint8_t*>(x.at) + first * x.stride * entry;
    DevicePointer<const uint8_t> vectors;
    if (x.on_device) {
      vectors = DevicePointer<const uint8_t>::of_another(from);
    } else {
      room.x.put({from, rows * input_dim() * sizeof(float)});
      vectors = std::as_const(room.x).data();
    }
    room.not_finite.fill_bytes(0xff);
    EnterArgs args{vectors, x.half, normalize_, narrow(rows), input_dim(), x.stride, room.unit.data(), {}, {}};
    if (wanted.squares != nullptr) args.squares = room.squares.data();
    args.not_finite = room.not_finite.data();
    enter(args);
    product({std::as_const(room.unit).data(), narrow(rows), input_dim()}, *layer_, room.z.data());
    make_codes(room, narrow(rows), optimize);
    if (wanted.reconstructed != nullptr) make_norms(room, narrow(rows));

    if (const uint32_t row = room.not_finite.get(1)[0]; row != kFinite)
      fail(ErrorCode::InvalidArgument,
           "x[" + std::to_string(first + row) + "] has an entry that is not finite: want finite numbers");
    room.planes.take(planes + first * spec_.row_bytes(), rows * spec_.row_bytes());
    for (size_t i = 0; wanted.reconstructed != nullptr && i < decoders_.size(); ++i)
      room.norms.take(wanted.reconstructed + i * x.rows + first, rows, i * rows);
    if (wanted.squares != nullptr) room.squares.take(wanted.squares + first, rows);
  }
}

}  // namespace bebr::cuda
