#include "yaml.h"

#include <yaml-cpp/eventhandler.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include "ppcls/error.h"
#include "text.h"

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

/// Whether a node is text: quoted, or not of the form of another value.
bool is_text(const YAML::Node& node) {
  if (!node.IsScalar()) return false;
  if (node.Tag() == "!") return true;
  double number = 0;
  bool flag = false;
  return !YAML::convert<double>::decode(node, number) && !YAML::convert<bool>::decode(node, flag);
}

constexpr std::size_t kMaxBytes = std::size_t{32} << 20;
constexpr int kMaxValues = 1'000'000;
constexpr int kMaxLevels = 100;

/// Counts the values of a document before they take memory.
class Counter final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { add(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw YAML::ParserException(mark, "an alias, which no export has");
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                const std::string&) override {
    add(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    enter(mark);
  }
  void OnSequenceEnd() override { --levels_; }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    enter(mark);
  }
  void OnMapEnd() override { --levels_; }

 private:
  void add(const YAML::Mark& mark) {
    if (++values_ > kMaxValues) throw YAML::ParserException(mark, "more than 1,000,000 values");
  }
  void enter(const YAML::Mark& mark) {
    add(mark);
    if (++levels_ > kMaxLevels) {
      throw YAML::ParserException(mark, "nested more than 100 levels deep");
    }
  }

  int values_ = 0;
  int levels_ = 0;
};

}  // namespace

YAML::Node load_yaml(const std::string& path) {
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text(kMaxBytes + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.eof()) {
    const bool is_long = file.good();
    throw BundleError(path + (is_long ? ":1: larger than 32 MiB"
                                      : std::string(": cannot be read: ") + std::strerror(errno)));
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  const auto odd = valid_utf8(text);
  if (odd != text.size()) {
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<long>(odd), '\n');
    throw BundleError(path + ":" + std::to_string(line) + ": not UTF-8 (byte " +
                      std::to_string(odd) + ")");
  }
  try {
    std::istringstream stream(text);
    Counter counter;
    YAML::Parser(stream).HandleNextDocument(counter);
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    throw BundleError(path + ":" + std::to_string(error.mark.line + 1) + ": " +
                      one_line(error.msg));
  }
}

Section::Section(const YAML::Node& node, std::string where)
    : node_(node), where_(std::move(where)) {
  if (!node_.IsMap()) {
    throw BundleError(where_ + " expected a map, not " + shown(node_) + "; export the model again");
  }
  std::set<std::string> keys;
  for (const auto& entry : node_) {
    const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
    if (!keys.insert(key).second) throw BundleError(where_ + key + ": the key occurs twice");
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

Section Section::section(const std::string& key) const { return {node(key), where(key) + "."}; }

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
  if (!is_text(found)) refuse(key, "text");
  return found.Scalar();
}

int Section::integer(const std::string& key, int low, int high) const {
  int value = 0;
  if (!parses(node(key), value) || value < low || value > high) {
    refuse(key, "an integer, " + std::to_string(low) + " to " + std::to_string(high));
  }
  return value;
}

double Section::fraction(const std::string& key) const {
  const YAML::Node found = node(key);
  const std::string text = found.IsScalar() ? found.Scalar() : "";
  const auto slash = text.find('/');
  double value = 0;
  double divisor = 1;
  const bool is_valid = YAML::convert<double>::decode(YAML::Node(text.substr(0, slash)), value) &&
                        (slash == text.npos || YAML::convert<double>::decode(
                                                   YAML::Node(text.substr(slash + 1)), divisor));
  if (!is_valid || divisor == 0 || !std::isfinite(value / divisor)) {
    refuse(key, "a number or a fraction such as 1.0/255.0");
  }
  return value / divisor;
}

bool Section::boolean(const std::string& key, bool otherwise) const {
  if (!has(key)) return otherwise;
  bool value = false;
  if (!parses(node(key), value)) refuse(key, "true or false");
  return value;
}

std::vector<double> Section::numbers(const std::string& key) const {
  const YAML::Node found = node(key);
  const auto count = found.IsSequence() ? found.size() : 1;
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) {
    if (!parses(found.IsSequence() ? found[i] : found, values[i]) || !std::isfinite(values[i])) {
      refuse(key, "numbers");
    }
  }
  return values;
}

std::vector<std::string> Section::texts(const std::string& key) const {
  const YAML::Node found = node(key);
  if (!found.IsSequence() || found.size() == 0) refuse(key, "a list of names");
  std::vector<std::string> out;
  out.reserve(found.size());
  for (const auto& entry : found) {
    if (!is_text(entry)) refuse(key, "a list of names");
    out.push_back(entry.Scalar());
  }
  return out;
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
