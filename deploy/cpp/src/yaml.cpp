#include "yaml.h"

#include <algorithm>

#include "ppcls/error.h"

namespace ppcls::detail {

namespace {

std::string shown(const YAML::Node& node) {
  if (!node.IsDefined() || node.IsNull()) return "nothing";
  if (node.IsSequence()) return "a list";
  if (node.IsMap()) return "a map";
  return "'" + node.Scalar().substr(0, 60) + "'";
}

template <typename T>
bool parses(const YAML::Node& node, T& value) {
  // Quoted numbers are text.
  return node.IsScalar() && node.Tag() != "!" && YAML::convert<T>::decode(node, value);
}

}  // namespace

Section::Section(YAML::Node node, std::string where)
    : node_(std::move(node)), where_(std::move(where)) {
  if (!node_.IsMap()) {
    throw BundleError(where_ + " expected a map, not " + shown(node_) +
                      "; export the model again");
  }
}

bool Section::has(const std::string& key) const {
  const YAML::Node found = node_[key];
  return found.IsDefined() && !found.IsNull();
}

void Section::allow(std::initializer_list<const char*> keys) const {
  for (const auto& entry : node_) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) {
      throw BundleError(where_ + key + ": unknown to this version of the C++ library");
    }
  }
}

Section Section::section(const std::string& key) const {
  return {node(key), where(key) + "."};
}

YAML::Node Section::node(const std::string& key) const {
  const YAML::Node found = node_[key];
  if (!found.IsDefined()) throw BundleError(where(key) + ": is missing; export the model again");
  return found;
}

void Section::refuse(const std::string& key, const std::string& expected) const {
  throw BundleError(where(key) + ": expected " + expected + ", not " + shown(node_[key]) +
                    "; export the model again");
}

std::string Section::text(const std::string& key) const {
  const YAML::Node found = node(key);
  if (!found.IsScalar()) refuse(key, "text");
  return found.Scalar();
}

int Section::integer(const std::string& key, int low, int high) const {
  int value = 0;
  if (!parses(node(key), value) || value < low || value > high) {
    refuse(key, "an integer, " + std::to_string(low) + " to " + std::to_string(high));
  }
  return value;
}

double Section::number(const std::string& key) const {
  double value = 0;
  if (!parses(node(key), value)) refuse(key, "a number");
  return value;
}

bool Section::boolean(const std::string& key, bool otherwise) const {
  if (!has(key)) return otherwise;
  bool value = false;
  if (!parses(node(key), value)) refuse(key, "true or false");
  return value;
}

std::vector<double> Section::numbers(const std::string& key, std::size_t count) const {
  const YAML::Node found = node(key);
  std::vector<double> values;
  if (found.IsSequence()) {
    for (const auto& entry : found) {
      double value = 0;
      if (!parses(entry, value)) break;
      values.push_back(value);
    }
  }
  if (values.size() != count || values.size() != found.size()) {
    refuse(key, std::to_string(count) + " numbers");
  }
  return values;
}

std::vector<int> Section::integers(const std::string& key, int low, int high) const {
  const YAML::Node found = node(key);
  if (!found.IsSequence()) return {integer(key, low, high)};
  std::vector<int> values;
  for (const auto& entry : found) {
    int value = 0;
    if (!parses(entry, value) || value < low || value > high) {
      refuse(key, "integers, " + std::to_string(low) + " to " + std::to_string(high));
    }
    values.push_back(value);
  }
  return values;
}

}  // namespace ppcls::detail
