#include "ppcls/transforms.h"

#include <cmath>
#include <functional>
#include <map>
#include <opencv2/imgproc.hpp>

#include "ppcls/error.h"
#include "ppcls/image.h"
#include "yaml.h"

namespace ppcls {

namespace {

using detail::Section;

constexpr int kMaxSide = 16384;

/// Read a size: a side, or [width, height].
cv::Size size_of(const Section& options, const std::string& key) {
  const auto sides = options.integers(key, 1, kMaxSide);
  if (sides.size() > 2 || sides.empty()) options.refuse(key, "a side, or [width, height]");
  return {sides.front(), sides.back()};
}

/// Return an option's values, one for each channel. A single one is for all; three are of RGB, and
/// a gray image gets their average.
std::vector<double> per_channel(const Section& options, const std::string& key,
                                std::vector<double> values, int channels) {
  if (values.size() == static_cast<std::size_t>(channels)) return values;
  if (values.size() == 1) return std::vector<double>(channels, values[0]);
  if (values.size() != 3) options.refuse(key, "one value, or one for each channel");
  const double mean = (values[0] + values[1] + values[2]) / 3;
  return std::vector<double>(channels, std::nearbyint(mean * 1e6) / 1e6);
}

/// Round half to even, as Python does.
int rounded(double value) { return static_cast<int>(std::nearbyint(value)); }

class Resize final : public Transform {
 public:
  Resize(const Section& options, int) {
    options.allow({"size", "resize_short", "cover", "backend", "interpolation", "return_numpy"});
    std::string backend = options.has("backend") ? options.text("backend") : "cv2";
    std::transform(backend.begin(), backend.end(), backend.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const bool is_pillow = backend == "pil";
    if (!is_pillow && backend != "cv2") options.refuse("backend", "cv2 or pil");
    filter_ = is_pillow ? "bicubic" : "bilinear";
    if (options.has("interpolation")) filter_ = options.text("interpolation");
    static const std::map<std::string, int> kOpenCv = {{"nearest", cv::INTER_NEAREST},
                                                       {"bilinear", cv::INTER_LINEAR},
                                                       {"bicubic", cv::INTER_CUBIC},
                                                       {"area", cv::INTER_AREA},
                                                       {"lanczos", cv::INTER_LANCZOS4}};
    static const std::map<std::string, int> kPillow = {{"nearest", 0}, {"bilinear", 0},
                                                       {"bicubic", 0}, {"box", 0},
                                                       {"lanczos", 0}, {"hamming", 0}};
    const auto& known = is_pillow ? kPillow : kOpenCv;
    const auto found = known.find(filter_);
    if (found == known.end()) options.refuse("interpolation", "one of this backend");
    if (!is_pillow) opencv_ = found->second;
    const int given =
        int{options.has("size")} + int{options.has("resize_short")} + int{options.has("cover")};
    if (given != 1) {
      throw BundleError(options.where("size") +
                        ": expected one of size, resize_short and cover; export the model again");
    }
    if (options.has("size")) size_ = size_of(options, "size");
    if (options.has("resize_short")) short_ = options.integer("resize_short", 1, kMaxSide);
    if (options.has("cover")) cover_ = size_of(options, "cover");
  }

  cv::Mat operator()(const cv::Mat& image) const override {
    cv::Size size = size_;
    if (size.empty()) {
      const double ratio = short_ != 0
                               ? static_cast<double>(short_) / std::min(image.cols, image.rows)
                               : std::max(static_cast<double>(cover_.width) / image.cols,
                                          static_cast<double>(cover_.height) / image.rows);
      const double across = std::nearbyint(image.cols * ratio);
      const double down = std::nearbyint(image.rows * ratio);
      if (across * down > static_cast<double>(kMaxPixels)) {
        const auto whole = [](double side) {
          return std::to_string(static_cast<std::int64_t>(side));
        };
        throw ImageError(whole(image.cols) + "x" + whole(image.rows) +
                             " is too long and narrow: resized it would have " + whole(across) +
                             "x" + whole(down) + " pixels, more than the limit of " +
                             std::to_string(kMaxPixels),
                         "", "");
      }
      size = {rounded(image.cols * ratio), rounded(image.rows * ratio)};
    }
    if (opencv_ < 0) return resize_as_pillow(image, size, filter_);
    cv::Mat out;
    cv::resize(image, out, size, 0, 0, opencv_);
    return out;
  }

  std::string name() const override { return "ResizeImage"; }
  cv::Size output_size(cv::Size) const override { return size_; }

 private:
  cv::Size size_;
  int short_ = 0;
  cv::Size cover_;
  std::string filter_;
  int opencv_ = -1;
};

class Crop final : public Transform {
 public:
  Crop(const Section& options, int) {
    options.allow({"size"});
    size_ = size_of(options, "size");
  }

  cv::Mat operator()(const cv::Mat& image) const override {
    cv::Mat whole = image;
    const int down = std::max(0, size_.height - image.rows);
    const int right = std::max(0, size_.width - image.cols);
    if (down != 0 || right != 0) {
      cv::copyMakeBorder(image, whole, down / 2, down - down / 2, right / 2, right - right / 2,
                         cv::BORDER_CONSTANT);
    }
    const int top = (whole.rows - size_.height) / 2;
    const int left = (whole.cols - size_.width) / 2;
    return whole(cv::Rect(left, top, size_.width, size_.height));
  }

  std::string name() const override { return "CropImage"; }
  cv::Size output_size(cv::Size) const override { return size_; }

 private:
  cv::Size size_;
};

class Pad final : public Transform {
 public:
  Pad(const Section& options, int channels) {
    options.allow({"padding", "fill", "backend", "padding_mode"});
    sides_ = options.integers("padding", 0, kMaxSide);
    if (sides_.size() == 1) sides_.assign(4, sides_[0]);
    if (sides_.size() != 4) options.refuse("padding", "a number, or [left, top, right, bottom]");
    if (!options.has("fill")) return;
    const auto fill = options.integers("fill", 0, 255);
    const auto values =
        per_channel(options, "fill", std::vector<double>(fill.begin(), fill.end()), channels);
    for (int c = 0; c < channels; ++c) colour_[c] = std::nearbyint(values[c]);
  }

  cv::Mat operator()(const cv::Mat& image) const override {
    cv::Mat out;
    cv::copyMakeBorder(image, out, sides_[1], sides_[3], sides_[0], sides_[2], cv::BORDER_CONSTANT,
                       colour_);
    return out;
  }

  std::string name() const override { return "Pad"; }
  cv::Size output_size(cv::Size size) const override {
    if (size.empty()) return size;
    return {sides_[0] + size.width + sides_[2], sides_[1] + size.height + sides_[3]};
  }

 private:
  std::vector<int> sides_;
  cv::Scalar colour_;
};

Affine affine_of(const Section& options, int channels) {
  options.allow({"scale", "mean", "std", "order", "channel_num", "output_fp16"});
  if (options.has("order")) {
    const std::string order = options.text("order");
    if (!order.empty() && order != "hwc" && order != "chw") {
      options.refuse("order", "hwc or chw");
    }
  }
  if (options.boolean("output_fp16", false)) options.refuse("output_fp16", "false");
  const double scale = options.has("scale") ? options.fraction("scale") : 1 / 255.0;
  std::vector<double> mean{0.485, 0.456, 0.406};
  std::vector<double> std{0.229, 0.224, 0.225};
  if (options.has("mean")) mean = options.numbers("mean");
  if (options.has("std")) std = options.numbers("std");
  mean = per_channel(options, "mean", mean, channels);
  std = per_channel(options, "std", std, channels);
  Affine affine;
  for (int c = 0; c < channels; ++c) {
    if (!(std[c] > 0)) options.refuse("std", "numbers above 0");
    affine.scale[c] = static_cast<float>(scale / std[c]);
    affine.bias[c] = static_cast<float>(-mean[c] / std[c]);
  }
  return affine;
}

using Factory = std::function<std::shared_ptr<const Transform>(const Section&, int)>;

template <typename T>
std::shared_ptr<const Transform> make(const Section& options, int channels) {
  return std::make_shared<T>(options, channels);
}

const std::map<std::string, Factory>& factories() {
  static const std::map<std::string, Factory> kFactories = {
      {"ResizeImage", make<Resize>}, {"CropImage", make<Crop>}, {"Pad", make<Pad>}};
  return kFactories;
}

}  // namespace

Pipeline Pipeline::parse(const YAML::Node& ops, const std::string& where, int channels) {
  if (!ops.IsSequence()) throw BundleError(where + ": expected a list; export the model again");
  Pipeline pipeline;
  bool has_ended = false;
  for (std::size_t i = 0; i < ops.size(); ++i) {
    const std::string at = where + "[" + std::to_string(i) + "]";
    const YAML::Node entry = ops[i];
    if (!entry.IsMap() || entry.size() != 1 || !entry.begin()->first.IsScalar()) {
      throw BundleError(at + ": expected one transform; export the model again");
    }
    const std::string name = entry.begin()->first.Scalar();
    YAML::Node given = entry.begin()->second;
    if (given.IsNull()) given = YAML::Node(YAML::NodeType::Map);
    const Section options(given, at + "." + name + ".");
    if (name == "NormalizeImage") {
      pipeline.affine_ = affine_of(options, channels);
      has_ended = true;
      continue;
    }
    if (name == "ToCHWImage") {
      options.allow({});
      has_ended = true;
      continue;
    }
    if (name == "DecodeImage" && i == 0) {  // of PaddleClas; ours is in Input.decode
      options.allow({"to_rgb", "to_np", "channel_first"});
      if (!options.boolean("to_rgb", true)) options.refuse("to_rgb", "true");
      continue;
    }
    const auto found = factories().find(name);
    if (found == factories().end()) {
      throw BundleError(at + ": the C++ library has no transform " + name);
    }
    if (has_ended) {
      throw BundleError(at + ": " + name + " cannot follow NormalizeImage; export the model again");
    }
    pipeline.transforms_.push_back(found->second(options, channels));
  }
  return pipeline;
}

cv::Mat Pipeline::operator()(cv::Mat image) const {
  for (const auto& transform : transforms_) image = (*transform)(image);
  return image;
}

cv::Size Pipeline::output_size() const {
  cv::Size size;
  for (const auto& transform : transforms_) size = transform->output_size(size);
  return size;
}

void Pipeline::normalize(const cv::Mat& image, float* out) const {
  const int channels = image.channels();
  for (int c = 0; c < channels; ++c) {
    // The products are rounded to float32 before the sums, as in NumPy: a table keeps compilers
    // from fusing the two.
    std::array<float, 256> table;
    for (int v = 0; v < 256; ++v) {
      const volatile float product = static_cast<float>(v) * affine_.scale[c];
      table[v] = product + affine_.bias[c];
    }
    float* to = out + c * image.total();
    for (int y = 0; y < image.rows; ++y) {
      const std::uint8_t* from = image.ptr(y) + c;
      for (int x = 0; x < image.cols; ++x) *to++ = table[from[channels * x]];
    }
  }
}

}  // namespace ppcls
