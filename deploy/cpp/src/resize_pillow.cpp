// Pillow's resampling: separable filters whose support grows with the reduction, in fixed point.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "ppcls/error.h"
#include "ppcls/transforms.h"

namespace ppcls {

namespace {

constexpr double kPi = 3.14159265358979323846;
/// 8-bit samples, and two bits for the sums of filters with negative parts.
constexpr int kPrecisionBits = 32 - 8 - 2;

struct Filter {
  double (*at)(double);
  double support;
};

double box(double x) { return x > -0.5 && x <= 0.5 ? 1.0 : 0.0; }

double triangle(double x) { return std::max(0.0, 1.0 - std::abs(x)); }

double hamming(double x) {
  x = std::abs(x);
  if (x == 0.0) return 1.0;
  if (x >= 1.0) return 0.0;
  x *= kPi;
  return std::sin(x) / x * (0.54 + 0.46 * std::cos(x));
}

double bicubic(double x) {
  constexpr double kA = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * kA;
  return 0.0;
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= kPi;
  return std::sin(x) / x;
}

double lanczos(double x) { return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0; }

Filter filter_of(const std::string& name) {
  if (name == "box") return {box, 0.5};
  if (name == "bilinear") return {triangle, 1.0};
  if (name == "hamming") return {hamming, 1.0};
  if (name == "bicubic") return {bicubic, 2.0};
  if (name == "lanczos") return {lanczos, 3.0};
  throw ConfigError("Pillow has no filter '" + name + "'");
}

/// The input samples of one output sample, with their weights.
struct Window {
  int first;
  std::vector<int> weights;
};

std::vector<Window> windows(int from, int to, const Filter& filter) {
  const double scale = static_cast<double>(from) / to;
  const double stretch = std::max(scale, 1.0);
  const double support = filter.support * stretch;
  std::vector<Window> out(to);
  std::vector<double> weights;
  for (int i = 0; i < to; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int last = std::min(static_cast<int>(centre + support + 0.5), from);
    weights.assign(last - first, 0.0);
    double sum = 0.0;
    for (int j = 0; j < last - first; ++j) {
      weights[j] = filter.at((j + first - centre + 0.5) * (1.0 / stretch));
      sum += weights[j];
    }
    out[i].first = first;
    out[i].weights.reserve(weights.size());
    for (double weight : weights) {
      if (sum != 0.0) weight *= 1.0 / sum;
      const double fixed = weight * (1 << kPrecisionBits);
      out[i].weights.push_back(static_cast<int>(fixed + (fixed < 0 ? -0.5 : 0.5)));
    }
  }
  return out;
}

std::uint8_t rounded(int sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> kPrecisionBits, 0, 255));
}

constexpr int kHalf = 1 << (kPrecisionBits - 1);

template <int kChannels>
cv::Mat resize_rows(const cv::Mat& image, int width, const Filter& filter) {
  const auto columns = windows(image.cols, width, filter);
  cv::Mat out(image.rows, width, image.type());
  for (int y = 0; y < image.rows; ++y) {
    auto* to = out.ptr(y);
    for (const auto& window : columns) {
      int sums[kChannels];
      std::fill(sums, sums + kChannels, kHalf);
      const auto* from = image.ptr(y) + kChannels * window.first;
      for (const int weight : window.weights) {
        for (int c = 0; c < kChannels; ++c) sums[c] += from[c] * weight;
        from += kChannels;
      }
      for (int c = 0; c < kChannels; ++c) *to++ = rounded(sums[c]);
    }
  }
  return out;
}

cv::Mat resize_columns(const cv::Mat& image, int height, const Filter& filter) {
  const auto rows = windows(image.rows, height, filter);
  cv::Mat out(height, image.cols, image.type());
  std::vector<int> sums(image.cols * image.elemSize());
  for (int y = 0; y < height; ++y) {
    std::fill(sums.begin(), sums.end(), kHalf);
    const auto& window = rows[y];
    for (std::size_t k = 0; k < window.weights.size(); ++k) {
      const auto* from = image.ptr(window.first + static_cast<int>(k));
      for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += from[i] * window.weights[k];
    }
    auto* to = out.ptr(y);
    for (std::size_t i = 0; i < sums.size(); ++i) to[i] = rounded(sums[i]);
  }
  return out;
}

cv::Mat nearest(const cv::Mat& image, cv::Size size) {
  cv::Mat out(size, image.type());
  const double across = static_cast<double>(image.cols) / size.width;
  const double down = static_cast<double>(image.rows) / size.height;
  const std::size_t pixel = image.elemSize();
  for (int y = 0; y < size.height; ++y) {
    const auto* from = image.ptr(std::min(static_cast<int>((y + 0.5) * down), image.rows - 1));
    auto* to = out.ptr(y);
    for (int x = 0; x < size.width; ++x) {
      const int column = std::min(static_cast<int>((x + 0.5) * across), image.cols - 1);
      to = std::copy_n(from + pixel * column, pixel, to);
    }
  }
  return out;
}

}  // namespace

cv::Mat resize_as_pillow(const cv::Mat& image, cv::Size size, const std::string& filter) {
  if (image.size() == size) return image.clone();
  if (filter == "nearest") return nearest(image, size);
  const Filter found = filter_of(filter);
  cv::Mat out = image;
  if (size.width != out.cols) {
    out = image.channels() == 1 ? resize_rows<1>(out, size.width, found)
                                : resize_rows<3>(out, size.width, found);
  }
  if (size.height != out.rows) out = resize_columns(out, size.height, found);
  return out;
}

}  // namespace ppcls
