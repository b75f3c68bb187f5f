#include "ppcls/predictor.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>
#include <thread>

#include "backend.h"
#include "ppcls/error.h"
#include "ppcls/image.h"
#include "text.h"

namespace ppcls {

const char kNotFinite[] =
    "the network's output is not finite: its weights are at fault, or the precision of the backend";

namespace {

using detail::BackendFacts;
using detail::joined;

/// Tolerance of the sum of probabilities.
constexpr double kRounding = 0.05;
/// Batches that are filled while one is computed.
constexpr int kAhead = 2;

int or_all_cores(int count) {
  return count > 0 ? count : std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

/// Return the first file of the bundle that a backend runs, or "".
std::string readable(const BackendFacts& backend, const Bundle& bundle) {
  for (const auto& name : backend.reads) {
    std::error_code error;
    if (std::filesystem::is_regular_file(bundle.folder + "/" + name, error)) return name;
  }
  return "";
}

const BackendFacts& choose(const std::string& name, const Bundle& bundle) {
  const auto& built = detail::built_backends();
  if (name != "auto") {
    for (const auto& backend : built) {
      if (backend.name != name) continue;
      if (readable(backend, bundle).empty()) {
        throw BundleError(bundle.folder + ": no " + joined(backend.reads, " or ") +
                          ", which the backend " + name + " runs; `" + backend.remedy +
                          "` writes one");
      }
      return backend;
    }
    throw ConfigError("no such backend: '" + name + "'; known: " + joined(backends(), ", ") +
                      " (those built in)");
  }
  for (const auto& backend : built) {
    if (!readable(backend, bundle).empty()) return backend;
  }
  if (built.empty()) throw RunError("this build of the library has no backend");
  const auto& first = built.front();
  throw BundleError(bundle.folder + ": has no " + joined(first.reads, " or ") + ", which " +
                    first.name + ", built in here, runs; export the model again with `" +
                    first.remedy + "`");
}

std::vector<double> softmax(const float* logits, int count) {
  const float highest = *std::max_element(logits, logits + count);
  std::vector<double> out(count);
  for (int i = 0; i < count; ++i) out[i] = std::exp(static_cast<double>(logits[i] - highest));
  const double sum = std::accumulate(out.begin(), out.end(), 0.0);
  for (double& value : out) value /= sum;
  return out;
}

std::vector<double> sigmoid(const float* logits, int count) {
  std::vector<double> out(count);
  for (int i = 0; i < count; ++i) {
    // Of a negative number only, so that nothing overflows.
    const double small = std::exp(-std::abs(static_cast<double>(logits[i])));
    out[i] = (logits[i] >= 0 ? 1 : small) / (1 + small);
  }
  return out;
}

/// Return the ids of the highest scores, best first; of equal scores the lower id comes first.
std::vector<int> best_classes(const float* scores, int count, int most) {
  std::vector<int> ids(count);
  std::iota(ids.begin(), ids.end(), 0);
  const auto is_better = [scores](int a, int b) {
    return scores[a] > scores[b] || (scores[a] == scores[b] && a < b);
  };
  std::partial_sort(ids.begin(), ids.begin() + most, ids.end(), is_better);
  ids.resize(most);
  return ids;
}

/// Return a number rounded to five places, in its shortest form, as Python writes it.
std::string rounded(double value) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.5f", value);
  return nlohmann::json(std::strtod(text, nullptr)).dump();
}

/// Images that are computed together, and the errors of those that cannot be.
struct Slot {
  std::vector<std::uint8_t> memory;
  std::vector<std::optional<std::string>> errors;
  int filled = 0;
};

}  // namespace

struct Predictor::Impl {
  Bundle bundle;
  PredictorOptions options;
  std::unique_ptr<detail::Backend> backend;
  std::string description;
  std::size_t image_bytes = 0;

  void load(const Source& source, std::uint8_t* out) const {
    DecodeOptions how;
    how.channels = bundle.channels;
    cv::Mat image = source.is_path
                        ? read_image(source.name, how)
                        : decode_image(source.data.data(), source.data.size(), source.name, how);
    try {
      image = bundle.pipeline(std::move(image));
    } catch (const ImageError& error) {
      throw ImageError(error.what(), source.name, "");
    } catch (const cv::Exception& error) {
      throw ImageError("the image cannot be transformed: " + error.err, source.name, "");
    } catch (const std::bad_alloc&) {
      throw ImageError("the image cannot be transformed: not enough memory", source.name, "");
    }
    if (bundle.takes_pixels) {
      cv::Mat to(image.rows, image.cols, image.type(), out);
      image.copyTo(to);
    } else {
      bundle.pipeline.normalize(image, reinterpret_cast<float*>(out));
    }
  }

  /// Load one image into its place; return why it cannot be.
  std::optional<std::string> try_load(const Source& source, std::uint8_t* out) const {
    try {
      load(source, out);
      return std::nullopt;
    } catch (const ImageError& error) {
      return detail::printable(error.what());
    }
  }

  /// Raise RunError unless the outputs of an image are scores.
  void require_scores(const float* output) const {
    const auto* end = output + bundle.labels.size();
    const char* own = bundle.multi_label ? "sigmoid" : "softmax";
    bool is_wrong = false;
    if (bundle.multi_label) {
      is_wrong = std::any_of(output, end, [](float v) { return v < 0 || v > 1; });
    } else {
      is_wrong = std::abs(std::accumulate(output, end, 0.0) - 1) > kRounding;
    }
    if (!is_wrong) return;
    throw RunError("the network's outputs are not probabilities: it does not end with a " +
                   std::string(own) +
                   "; use `ppcls predict --logits`, or "
                   "ppcls.Predictor(…, softmax=False) in Python");
  }

  /// Whether a score reaches the threshold of its class, as the metrics of either task decide.
  bool is_kept(int id, double score) const {
    double threshold = 0;
    if (options.threshold) {
      threshold = *options.threshold;
    } else if (bundle.multi_label) {
      threshold = bundle.thresholds[bundle.thresholds.size() == 1 ? 0 : id];
    }
    if (threshold == 0) return true;
    // Scores of the network itself have 32 bits.
    if (bundle.gives_scores) threshold = static_cast<float>(threshold);
    return bundle.multi_label ? score > threshold : score >= threshold;
  }

  Result answer(const std::string& name, const float* output) const {
    Result result;
    result.source = name;
    const auto count = static_cast<int>(bundle.labels.size());
    if (bundle.gives_scores) require_scores(output);
    if (!std::all_of(output, output + count, [](float v) { return std::isfinite(v); })) {
      result.error = kNotFinite;
      return result;
    }
    result.logits.assign(output, output + count);
    const std::vector<double> scores = bundle.gives_scores
                                           ? std::vector<double>(output, output + count)
                                       : bundle.multi_label ? sigmoid(output, count)
                                                            : softmax(output, count);
    const int topk = options.topk > 0 ? std::min(options.topk, count) : count;
    // A threshold for each class may leave out better classes than it keeps.
    for (const int id : best_classes(output, count, bundle.multi_label ? count : topk)) {
      if (!is_kept(id, scores[id])) continue;
      if (static_cast<int>(result.class_ids.size()) == topk) break;
      result.class_ids.push_back(id);
      result.scores.push_back(scores[id]);
      result.label_names.push_back(bundle.labels[id]);
    }
    return result;
  }

  /// Compute a filled slot and hand out its results.
  void finish(Slot& slot, const Source* sources, const std::function<void(Result)>& each) const {
    int valid = 0;
    for (int i = 0; i < slot.filled; ++i) {
      if (slot.errors[i]) continue;
      if (valid != i) {
        std::memmove(slot.memory.data() + valid * image_bytes, slot.memory.data() + i * image_bytes,
                     image_bytes);
      }
      ++valid;
    }
    std::vector<float> outputs;
    if (valid != 0) outputs = backend->run({slot.memory.data(), valid});
    const std::size_t classes = bundle.labels.size();
    if (outputs.size() != valid * classes) {
      throw DataError(std::to_string(classes) + " class names, but the network's output has " +
                      std::to_string(outputs.size() / valid) +
                      " classes; name a label list that fits");
    }
    const float* next = outputs.data();
    for (int i = 0; i < slot.filled; ++i) {
      if (slot.errors[i]) {
        Result result;
        result.source = sources[i].name;
        result.error = slot.errors[i];
        each(std::move(result));
      } else {
        each(answer(sources[i].name, next));
        next += classes;
      }
    }
  }

  void predict_ahead(const std::vector<Source>& sources,
                     const std::function<void(Result)>& each) const;
};

namespace {

/// Fills slots in several threads, each image at its place, a bounded number of slots ahead.
class Loader {
 public:
  using Load = std::function<std::optional<std::string>(const Source&, std::uint8_t*)>;

  Loader(const std::vector<Source>& sources, int batch_size, std::size_t image_bytes, int workers,
         Load load)
      : sources_(sources), size_(batch_size), image_bytes_(image_bytes), load_(std::move(load)) {
    const auto all = sources.size();
    const auto slots = std::min<std::size_t>(kAhead + 1, (all + size_ - 1) / size_);
    slots_.resize(slots);
    missing_.resize(slots);
    for (std::size_t i = 0; i < slots; ++i) {
      slots_[i].memory.resize(std::min<std::size_t>(size_, all) * image_bytes_);
      prepare(i);
    }
    for (int i = 0; i < workers; ++i) threads_.emplace_back([this] { work(); });
  }

  ~Loader() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      is_stopped_ = true;
    }
    changed_.notify_all();
    for (auto& thread : threads_) thread.join();
  }

  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Wait for a batch.
  Slot& wait(std::size_t batch) {
    std::unique_lock<std::mutex> lock(mutex_);
    const std::size_t at = batch % slots_.size();
    changed_.wait(lock, [&] { return failure_ || missing_[at] == 0; });
    if (failure_) std::rethrow_exception(failure_);
    return slots_[at];
  }

  /// Reuse the slot of a batch for a later one.
  void release(std::size_t batch) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      prepare(batch + slots_.size());
      done_ = batch + 1;
    }
    changed_.notify_all();
  }

 private:
  void prepare(std::size_t batch) {
    const std::size_t first = batch * size_;
    const std::size_t count =
        first < sources_.size() ? std::min<std::size_t>(size_, sources_.size() - first) : 0;
    Slot& slot = slots_[batch % slots_.size()];
    slot.filled = static_cast<int>(count);
    slot.errors.assign(count, std::nullopt);
    missing_[batch % slots_.size()] = count;
  }

  void work() {
    while (true) {
      std::size_t index = 0;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        changed_.wait(lock, [&] {
          return is_stopped_ || next_ >= sources_.size() || next_ / size_ < done_ + slots_.size();
        });
        if (is_stopped_ || next_ >= sources_.size()) return;
        index = next_++;
      }
      const std::size_t at = index / size_ % slots_.size();
      Slot& slot = slots_[at];
      const std::size_t place = index % size_;
      std::exception_ptr failure;
      try {
        slot.errors[place] = load_(sources_[index], slot.memory.data() + place * image_bytes_);
      } catch (...) {
        failure = std::current_exception();
      }
      {
        const std::lock_guard<std::mutex> lock(mutex_);
        if (failure && !failure_) failure_ = failure;
        --missing_[at];
      }
      changed_.notify_all();
    }
  }

  const std::vector<Source>& sources_;
  std::size_t size_;
  std::size_t image_bytes_;
  Load load_;
  std::vector<Slot> slots_;
  std::vector<std::size_t> missing_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::exception_ptr failure_;
  std::size_t next_ = 0;
  std::size_t done_ = 0;
  bool is_stopped_ = false;
};

}  // namespace

void Predictor::Impl::predict_ahead(const std::vector<Source>& sources,
                                    const std::function<void(Result)>& each) const {
  Loader loader(sources, options.batch_size, image_bytes, options.workers,
                [this](const Source& source, std::uint8_t* out) { return try_load(source, out); });
  const auto size = static_cast<std::size_t>(options.batch_size);
  for (std::size_t first = 0, batch = 0; first < sources.size(); first += size, ++batch) {
    finish(loader.wait(batch), sources.data() + first, each);
    loader.release(batch);
  }
}

std::string Result::to_json() const {
  const auto list = [](const auto& values, const auto& write) {
    std::string out;
    for (const auto& value : values) out += (out.empty() ? "" : ", ") + write(value);
    return "[" + out + "]";
  };
  return "{\"filename\": " + detail::quoted(source) +
         ", \"class_ids\": " + list(class_ids, [](int id) { return std::to_string(id); }) +
         ", \"scores\": " + list(scores, rounded) +
         ", \"label_names\": " + list(label_names, detail::quoted) +
         ", \"error\": " + (error ? detail::quoted(*error) : "null") + "}";
}

Predictor::Predictor(const std::string& folder, PredictorOptions options)
    : impl_(std::make_unique<Impl>()) {
  if (options.batch_size < 1) throw ConfigError("batch_size must be 1 or more");
  if (options.threshold && !(*options.threshold >= 0 && *options.threshold <= 1)) {
    throw ConfigError("threshold must be a score, 0 to 1");
  }
  if (options.topk < 0) throw ConfigError("topk must be 1 or more");
  if (options.device != "auto" && options.device != "cpu" && options.device != "gpu") {
    throw ConfigError("device must be auto, cpu or gpu, not '" + options.device + "'");
  }
  impl_->bundle = read_bundle(folder);
  const Bundle& bundle = impl_->bundle;
  const BackendFacts& facts = choose(options.backend, bundle);
  const std::string device = options.device == "auto" ? facts.devices.front() : options.device;
  if (std::find(facts.devices.begin(), facts.devices.end(), device) == facts.devices.end()) {
    throw RunError("the backend " + facts.name + " has no " + device + ": it runs on " +
                   joined(facts.devices, ", ") + " here; use device='cpu' (--device cpu)");
  }
  options.threads = or_all_cores(options.threads);
  options.workers = or_all_cores(options.workers);
  if (options.topk == 0) options.topk = bundle.topk;
  impl_->options = options;
  impl_->image_bytes = static_cast<std::size_t>(bundle.channels) * bundle.height * bundle.width *
                       (bundle.takes_pixels ? sizeof(std::uint8_t) : sizeof(float));
  impl_->backend = facts.open(bundle, readable(facts, bundle), device, options.threads);
  impl_->description = facts.name + " " + facts.version + ", " + device + ", fp32";
  if (device == "cpu") {
    impl_->description +=
        ", " + std::to_string(options.threads) + (options.threads == 1 ? " thread" : " threads");
  }
}

Predictor::~Predictor() = default;
Predictor::Predictor(Predictor&&) noexcept = default;
Predictor& Predictor::operator=(Predictor&&) noexcept = default;

void Predictor::predict(const std::vector<Source>& sources,
                        const std::function<void(Result)>& each) const {
  if (sources.size() > 1) return impl_->predict_ahead(sources, each);
  // One image overlaps with nothing.
  for (const auto& source : sources) {
    Slot slot;
    slot.memory.resize(impl_->image_bytes);
    slot.errors = {impl_->try_load(source, slot.memory.data())};
    slot.filled = 1;
    impl_->finish(slot, &source, each);
  }
}

std::vector<Result> Predictor::predict(const std::vector<Source>& sources) const {
  std::vector<Result> out;
  out.reserve(sources.size());
  predict(sources, [&out](Result result) { out.push_back(std::move(result)); });
  return out;
}

const Bundle& Predictor::bundle() const { return impl_->bundle; }

const std::string& Predictor::description() const { return impl_->description; }

std::vector<std::string> backends() {
  std::vector<std::string> names;
  for (const auto& backend : detail::built_backends()) names.push_back(backend.name);
  return names;
}

const std::vector<BackendFacts>& detail::built_backends() {
  static const std::vector<BackendFacts> kBuilt = {
#ifdef PPCLS_WITH_OPENVINO
      openvino_facts(),
#endif
#ifdef PPCLS_WITH_PADDLE
      paddle_facts(),
#endif
#ifdef PPCLS_PADDLE_GPU
      tensorrt_facts(),
#endif
  };
  return kBuilt;
}

}  // namespace ppcls
