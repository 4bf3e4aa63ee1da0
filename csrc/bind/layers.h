// Layers of networks, as Python has them.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "binarizer/encoder.h"
#include "bind/arrays.h"

namespace bebr {

using PyLayer = std::pair<Array<float>, Array<float>>;  // weight [out, in], bias [out]

// They are good as long as the arrays.
inline std::vector<Layer> layers_of(const std::vector<PyLayer>& layers, const std::string& name) {
  std::vector<Layer> views;
  for (const auto& [weight, bias] : layers) {
    const std::string at = name + "[" + std::to_string(views.size()) + "]";
    expect_shape(weight, (at + " weight").c_str(), {-1, -1});
    expect_shape(bias, (at + " bias").c_str(), {weight.shape(0)});
    views.push_back(
        {weight.data(), bias.data(), static_cast<uint32_t>(weight.shape(1)), static_cast<uint32_t>(weight.shape(0))});
  }
  return views;
}

inline std::vector<std::vector<Layer>> networks_of(const std::vector<std::vector<PyLayer>>& networks) {
  std::vector<std::vector<Layer>> views;
  for (const std::vector<PyLayer>& layers : networks)
    views.push_back(layers_of(layers, "layers[" + std::to_string(views.size()) + "]"));
  return views;
}

inline Architecture architecture_of(const std::string& name) {
  if (name != "linear" && name != "recurrent")
    fail(ErrorCode::InvalidArgument, "architecture is '" + name + "': want linear or recurrent");
  return name == "linear" ? Architecture::Linear : Architecture::Recurrent;
}

}  // namespace bebr
