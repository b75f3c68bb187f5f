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
  int height = 0;
  int width = 0;
  /// 3 for RGB, 1 for gray.
  int channels = 3;
  /// Whether the graph takes 8-bit pixels (N, H, W, C) and normalises them itself.
  bool takes_pixels = false;
  /// Whether an image may have several classes, or none.
  bool multi_label = false;
  /// Whether the graph's first output holds scores (a softmax or sigmoid) instead of logits.
  bool gives_scores = false;
  /// Number of classes in a result; 0 is no limit.
  int topk = 0;
  /// The score that a class of a multi-label result exceeds: one for all classes, or one for each.
  std::vector<double> thresholds;
  /// The class names, in the order of the graph's outputs.
  std::vector<std::string> labels;
  Pipeline pipeline;
  /// The SHA-256 of each other file, by name; empty for a folder of PaddleClas.
  std::map<std::string, std::string> files;
};

/// Read and verify an exported folder, of ppcls or of PaddleClas 2.5 and later.
///
/// Raises BundleError: a file is missing or has changed since the export, `inference.yml` cannot
/// be read by this version, or it needs what this library does not have.
Bundle read_bundle(const std::string& folder);

}  // namespace ppcls
