// The exported folder: its description in inference.yml, and the checksums of its files.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ppcls/transforms.h"

namespace ppcls {

/// The content of `inference.yml` that a prediction needs; docs/bundle.md specifies the file.
struct Bundle {
  std::string folder;
  std::string model_name;
  std::string precision;
  std::string input_name;
  int height = 0;
  int width = 0;
  /// Whether the graph takes 8-bit pixels (N, H, W, 3) and normalises them itself.
  bool takes_pixels = false;
  int classes = 0;
  /// Whether the graph's first output holds probabilities.
  bool softmax = false;
  /// Whether the graph's second output is the pooled last feature map (N, C).
  bool features = false;
  int topk = 0;
  std::vector<std::string> labels;
  Pipeline pipeline;
  /// The SHA-256 of each other file, by name.
  std::map<std::string, std::string> files;

  /// Whether the bundle has a file of this name.
  bool has(const std::string& name) const { return files.count(name) != 0; }
};

/// Read and verify an exported folder.
///
/// Raises BundleError: a file is missing or has changed since the export, `inference.yml` cannot
/// be read by this version, or it has a transform that this library does not have.
Bundle read_bundle(const std::string& folder);

}  // namespace ppcls
