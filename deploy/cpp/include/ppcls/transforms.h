// The evaluation transforms of a bundle, with the arithmetic of the Python package.
#pragma once

#include <array>
#include <memory>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

namespace YAML {
class Node;
}

namespace ppcls {

/// An operation on an image, RGB or gray, 8 bits (H, W, C).
class Transform {
 public:
  virtual ~Transform() = default;
  /// Return the transformed image; the given one stays unchanged.
  virtual cv::Mat operator()(const cv::Mat& image) const = 0;
  /// Name of the transform in `inference.yml`.
  virtual std::string name() const = 0;
  /// Return the size of its results for images of a size; empty sizes are unknown.
  virtual cv::Size output_size(cv::Size size) const = 0;
};

/// `pixel * scale + bias` for each channel, both float32; without change by default.
struct Affine {
  std::array<float, 3> scale{1, 1, 1};
  std::array<float, 3> bias{0, 0, 0};
};

/// The transforms of a bundle after decoding.
class Pipeline {
 public:
  /// Read `PreProcess.transform_ops`.
  ///
  /// Args:
  ///   ops: the list.
  ///   where: its place in errors, such as `bundle/inference.yml: PreProcess.transform_ops`.
  ///   channels: those of the images, 1 or 3.
  ///
  /// Raises BundleError: a transform or an option is unknown here, or has an invalid value.
  static Pipeline parse(const YAML::Node& ops, const std::string& where, int channels);

  /// Return the transformed image, 8 bits (H, W, C).
  cv::Mat operator()(cv::Mat image) const;

  /// Return the size of every transformed image; empty if it depends on the image.
  cv::Size output_size() const;

  /// Write a transformed image (H, W, C) as float32 (C, H, W), normalised, to `out`.
  void normalize(const cv::Mat& image, float* out) const;

  const std::vector<std::shared_ptr<const Transform>>& transforms() const { return transforms_; }
  const Affine& affine() const { return affine_; }

 private:
  std::vector<std::shared_ptr<const Transform>> transforms_;
  Affine affine_;
};

/// Resize with the arithmetic of Pillow's `Image.resize`: it smooths when it reduces an image.
///
/// Args:
///   image: 8 bits, one or three channels.
///   size: the result's width and height.
///   filter: nearest, box, bilinear, hamming, bicubic or lanczos.
cv::Mat resize_as_pillow(const cv::Mat& image, cv::Size size, const std::string& filter);

}  // namespace ppcls
