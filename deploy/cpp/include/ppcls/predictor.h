// The predictor: images in, named classes out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ppcls/bundle.h"

namespace ppcls {

/// The error of an image that was read and has no prediction.
extern const char kNotFinite[];

/// Options of a predictor.
struct PredictorOptions {
  /// Name of the backend, from `backends()`; `auto` is the first one that can run the bundle.
  std::string backend = "auto";
  /// `auto`, `cpu` or `gpu`.
  std::string device = "auto";
  /// CPU threads of one inference; 0 is one per core.
  int threads = 0;
  /// Threads that decode and transform; 0 is one per core.
  int workers = 0;
  /// Images per inference.
  int batch_size = 32;
  /// Number of classes in a result; 0 is that of the bundle.
  int topk = 0;
  /// Leave classes with a lower score out of a result; a multi-label model gives those above it.
  /// The default is that of the bundle.
  std::optional<double> threshold;
};

/// An image: a path, or the bytes of an encoded image with a name for records and errors.
struct Source {
  std::string name;
  std::vector<std::uint8_t> data;
  bool is_path = true;

  static Source path(std::string path) { return {std::move(path), {}, true}; }
  static Source bytes(std::vector<std::uint8_t> data, std::string name) {
    return {std::move(name), std::move(data), false};
  }
};

/// The prediction for one image.
struct Result {
  std::string source;
  /// The best classes, best first, with their scores and names: softmax probabilities, or the
  /// sigmoids of a multi-label model, which may have no class above its threshold.
  std::vector<int> class_ids;
  std::vector<double> scores;
  std::vector<std::string> label_names;
  /// Why there is no prediction; empty if there is one.
  std::optional<std::string> error;
  /// The network's first output, float32 (classes).
  std::vector<float> logits;

  /// Return the record of `ppcls predict`, as a JSON object on one line.
  std::string to_json() const;
};

/// Predicts with an exported model. One thread at a time may call it.
class Predictor {
 public:
  /// Raises BundleError, ConfigError, RunError: as the Python predictor.
  explicit Predictor(const std::string& folder, PredictorOptions options = {});
  ~Predictor();
  Predictor(Predictor&&) noexcept;
  Predictor& operator=(Predictor&&) noexcept;

  /// Call `each` with one result for each source, in order.
  ///
  /// Threads read and transform images, at most two batches ahead, while the network computes. An
  /// unreadable image gives a result with `error` and does not affect the others.
  ///
  /// Raises RunError: the network's output does not fit the bundle.
  void predict(const std::vector<Source>& sources, const std::function<void(Result)>& each) const;

  /// Return the results of a list of sources, in order.
  std::vector<Result> predict(const std::vector<Source>& sources) const;

  const Bundle& bundle() const;
  /// The backend, its version, device, precision and threads in a few words.
  const std::string& description() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The names of the backends that this library was built with.
std::vector<std::string> backends();

}  // namespace ppcls
