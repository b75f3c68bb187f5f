// Typed reading of YAML, with errors that name the file, the key and what was expected.
#pragma once

#include <yaml-cpp/yaml.h>

#include <initializer_list>
#include <string>
#include <vector>

namespace ppcls::detail {

/// Read a file of plain YAML, at most 32 MiB, a million values and a hundred levels.
///
/// Raises BundleError: it cannot be read.
YAML::Node load_yaml(const std::string& path);

/// A map of `inference.yml`, with its place for errors.
class Section {
 public:
  /// Raises BundleError: it is not a map, or has a key twice.
  Section(const YAML::Node& node, std::string where);

  bool has(const std::string& key) const;
  /// Raise BundleError for a key that is none of these.
  void allow(std::initializer_list<const char*> keys) const;

  Section section(const std::string& key) const;
  YAML::Node node(const std::string& key) const;
  std::string where(const std::string& key) const { return where_ + key; }

  std::string text(const std::string& key) const;
  int integer(const std::string& key, int low, int high) const;
  /// A number, or a quotient as text: `1.0/255.0`.
  double fraction(const std::string& key) const;
  bool boolean(const std::string& key, bool otherwise) const;
  /// A list of numbers; a single one gives a list of one.
  std::vector<double> numbers(const std::string& key) const;
  /// A list of one text or more.
  std::vector<std::string> texts(const std::string& key) const;
  /// A list of integers; a single one gives a list of one.
  std::vector<int> integers(const std::string& key, int low, int high) const;

  /// Raise BundleError about a key.
  [[noreturn]] void refuse(const std::string& key, const std::string& expected) const;

 private:
  YAML::Node node_;
  std::string where_;  // ends with the separator before a key
};

}  // namespace ppcls::detail
