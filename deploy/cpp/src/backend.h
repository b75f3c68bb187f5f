// The interface of the backends; each is a file in backends/.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "ppcls/bundle.h"

namespace ppcls::detail {

/// Images as the network takes them: float32 (N, C, H, W), or 8 bits (N, H, W, C).
struct Batch {
  void* data;
  int count;
};

/// Runs a bundle's network.
class Backend {
 public:
  virtual ~Backend() = default;
  /// Return the first output, float32 (N, classes).
  virtual std::vector<float> run(const Batch& batch) = 0;
};

struct BackendFacts {
  std::string name;
  /// The bundle's files that it can run; it takes the first that exists.
  std::vector<std::string> reads;
  /// The command that writes such a file.
  std::string remedy;
  /// The devices that it can run on here.
  std::vector<std::string> devices;
  std::string version;
  std::unique_ptr<Backend> (*open)(const Bundle& bundle, const std::string& file,
                                   const std::string& device, int threads);
};

/// The backends that the library was built with, the fastest first.
const std::vector<BackendFacts>& built_backends();

#ifdef PPCLS_WITH_OPENVINO
BackendFacts openvino_facts();
#endif
#ifdef PPCLS_WITH_PADDLE
BackendFacts paddle_facts();
BackendFacts tensorrt_facts();
#endif

}  // namespace ppcls::detail
