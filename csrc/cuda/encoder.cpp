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

void expect(uint32_t got, uint32_t want, const std::string& what) {
  if (got != want)
    fail(ErrorCode::InvalidArgument, what + " are " + std::to_string(got) + ": want " + std::to_string(want));
}

}  // namespace

Encoder::Encoder(size_t device, const EncoderModel& model)
    : device_(device), spec_(model.spec), normalize_(model.normalize), skip_(model.skip) {
  const CodeSpec& spec = spec_;
  const uint32_t dims = spec.dims();
  const size_t wanted = model.architecture == Architecture::Linear ? 1 : 2 * size_t{spec.planes} - 1;
  if (model.networks.size() != wanted)
    fail(ErrorCode::InvalidArgument,
         "there are " + std::to_string(model.networks.size()) + " networks: want " + std::to_string(wanted));
  const OnDevice there(device);
  for (const std::vector<Layer>& layers : model.networks) networks_.emplace_back(layers);
  for (size_t i = 0; i < networks_.size(); ++i) {
    // Encoder and residuals take vectors and give a plane, reconstructions the other way round.
    const bool back = i % 2 == 1;
    expect(networks_[i].in(), back ? dims : inner_dim(), "the inputs of network " + std::to_string(i));
    expect(networks_[i].out(), back ? inner_dim() : spec.widths[i / 2], "the outputs of network " + std::to_string(i));
  }
  if (!model.adapter.empty()) {
    adapter_.emplace(model.adapter);
    expect(adapter_->out(), inner_dim(), "the outputs of the input adapter");
    if (skip_ != 0) expect(adapter_->in(), inner_dim(), "the inputs of an input adapter with a skip");
  }
  const DescentModel& descent = model.descent;
  const std::vector<float> zeros(dims);
  if (descent.gram != nullptr) {
    const DescentNumbers numbers = descent_numbers(spec, descent.gram);
    const size_t stride = networks_.front().out_stride();
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
  for (const DecoderModel& decoder : model.decoders) {
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
  size_t found = 0;
  for (const DeviceNetwork& network : networks_) found = std::max<size_t>(found, network.out_stride());
  for (const Norm& decoder : decoders_) found = std::max<size_t>(found, decoder.layer.out_stride());
  return found;
}

size_t Encoder::between() const noexcept {
  size_t found = adapter_ ? adapter_->widest() : 0;
  for (const DeviceNetwork& network : networks_) found = std::max(found, network.widest());
  return found;
}

size_t Encoder::bytes_of_row(const Vectors& x) const noexcept {
  const size_t adapted = adapter_ ? input_dim() + adapter_->out_stride() : 0;
  const size_t floats = (x.on_device ? 0 : input_dim()) + adapted + inner_dim() + 2 * networks_.front().out_stride() +
                        std::max<size_t>(networks_.front().out_stride(), inner_dim()) + widest() + 2 * between() + 1;
  return (floats + decoders_.size()) * sizeof(float) + spec_.row_bytes();
}

Encoder::Room& Encoder::room_for(size_t rows, const Vectors& x, const EncodedNorms& wanted) const {
  const size_t stride = networks_.front().out_stride();
  Room& room = room_;
  if (!x.on_device) grow(room.x, rows * input_dim() * sizeof(float));
  if (adapter_) {
    grow(room.given, rows * input_dim());
    grow(room.inner, rows * adapter_->out_stride());
  }
  grow(room.unit, rows * inner_dim());
  for (DeviceArray<float>* array : {&room.z, &room.v}) grow(*array, rows * stride);
  grow(room.error, rows * std::max<size_t>(stride, recurrent() ? inner_dim() : 0));
  for (DeviceArray<float>& array : room.between) grow(array, rows * between());
  grow(room.product, rows * widest());
  grow(room.planes, rows * spec_.row_bytes());
  if (wanted.reconstructed != nullptr) grow(room.norms, rows * decoders_.size());
  if (wanted.lengths != nullptr) grow(room.lengths, rows);
  grow(room.not_finite, 1);
  return room;
}

// Of what was given: what the input adapter makes of it.
void Encoder::adapt(Room& room, uint32_t rows) const {
  const uint32_t from = input_dim(), dim = inner_dim(), stride = adapter_->out_stride();
  const DevicePointer<const float> given = std::as_const(room.given).data(), inner = std::as_const(room.inner).data();
  if (normalize_) measure({rows, from, from, given, {}, room.given.data()});
  adapter_->forward({given, rows, from}, room.between, room.inner.data());
  if (skip_ != 0) add({rows, dim, stride, from, stride, false, skip_, inner, given, room.inner.data()});
  if (normalize_) measure({rows, dim, stride, inner, {}, room.inner.data()});
}

// The recurrent architecture's (binarizer/encoder.h), from z on.
void Encoder::make_planes(Room& room, uint32_t rows) const {
  const uint32_t stride = networks_.front().out_stride(), dim = inner_dim();
  const DevicePointer<const float> v = std::as_const(room.v).data();
  room.v.fill_bytes(0);
  PlaneArgs plane{
      rows, spec_.dims(), stride, std::as_const(room.z).data(), spec_.row_bytes(), 0, room.planes.data(), stride,
      1,    room.v.data()};
  add_plane(plane);
  for (uint32_t t = 1; t < spec_.planes; ++t) {
    const DeviceNetwork &reconstruct = networks_[2 * t - 1], &residual = networks_[2 * t];
    reconstruct.forward({v, rows, stride}, room.between, room.product.data());
    add({rows, dim, dim, reconstruct.out_stride(), dim, true, 0, std::as_const(room.unit).data(),
         std::as_const(room.product).data(), room.error.data()});
    residual.forward({std::as_const(room.error).data(), rows, dim}, room.between, room.product.data());
    plane.offset += plane.width / 8;
    plane.width = spec_.widths[t];
    plane.stride = residual.out_stride();
    plane.values = std::as_const(room.product).data();
    plane.weight /= 2;
    add_plane(plane);
  }
}

void Encoder::make_codes(Room& room, uint32_t rows, bool optimize) const {
  const uint32_t stride = networks_.front().out_stride();
  if (recurrent()) return make_planes(room, rows);
  ApproximateArgs first{spec_, rows, stride, std::as_const(room.z).data(), {}, room.v.data(), {}};
  if (!optimize || !gram_layer_) {
    first.planes = room.planes.data();
    return approximate(first);
  }
  first.error = room.error.data();
  approximate(first);
  product({std::as_const(room.error).data(), rows, stride}, *gram_layer_, false, room.product.data());
  descend({spec_.dims(), stride, rows, sweeps_, tries_, gram_.data(), inverse_.data(), step_.data(),
           std::as_const(room.z).data(), room.v.data(), room.product.data()});
  approximate({spec_, rows, stride, std::as_const(room.v).data(), room.planes.data(), {}, {}});
}

void Encoder::make_norms(Room& room, uint32_t rows) const {
  const uint32_t stride = networks_.front().out_stride();
  for (size_t i = 0; i < decoders_.size(); ++i) {
    const Norm& decoder = decoders_[i];
    DevicePointer<const float> v = std::as_const(room.v).data();
    if (decoder.planes < spec_.planes) {
      const CodeSpec signs = CodeSpec::make(std::span(spec_.widths, decoder.planes));
      approximate({signs, rows, stride, v, {}, room.error.data(), {}});
      v = std::as_const(room.error).data();
    }
    product({v, rows, stride}, decoder.layer, false, room.product.data());
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
    const bool adapts = adapter_.has_value();
    EnterArgs args{vectors,     x.half,   normalize_ && !adapts, narrow(rows),
                   input_dim(), x.stride, room.unit.data(),      room.not_finite.data()};
    if (adapts) args.out = room.given.data();
    enter(args);
    if (adapts) {
      adapt(room, narrow(rows));
      enter({room.inner.as_bytes(),
             false,
             normalize_,
             narrow(rows),
             inner_dim(),
             adapter_->out_stride(),
             room.unit.data(),
             {}});
    }
    const MatrixView unit{std::as_const(room.unit).data(), narrow(rows), inner_dim()};
    if (wanted.lengths != nullptr) measure({unit.rows, unit.stride, unit.stride, unit.values, room.lengths.data(), {}});
    networks_.front().forward(unit, room.between, room.z.data());
    make_codes(room, narrow(rows), optimize);
    if (wanted.reconstructed != nullptr) make_norms(room, narrow(rows));

    if (const uint32_t row = room.not_finite.get(1)[0]; row != kFinite)
      fail(ErrorCode::InvalidArgument,
           "x[" + std::to_string(first + row) + "] has an entry that is not finite: want finite numbers");
    room.planes.take(planes + first * spec_.row_bytes(), rows * spec_.row_bytes());
    for (size_t i = 0; wanted.reconstructed != nullptr && i < decoders_.size(); ++i)
      room.norms.take(wanted.reconstructed + i * x.rows + first, rows, i * rows);
    if (wanted.lengths != nullptr) room.lengths.take(wanted.lengths + first, rows);
  }
}

}  // namespace bebr::cuda
