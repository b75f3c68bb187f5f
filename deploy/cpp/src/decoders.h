// The decoders of the formats, behind decode_image.
#pragma once

#include <cstdint>
#include <opencv2/core.hpp>
#include <string>

#include "ppcls/image.h"

namespace ppcls::detail {

/// The bytes of an image file.
struct Bytes {
  const std::uint8_t* data;
  std::size_t size;
};

/// A decoded image, RGB, 8 bits (H, W, 3), and its orientation as in EXIF, 1 to 8.
struct Decoded {
  cv::Mat image;
  int orientation = 1;
};

Decoded decode_jpeg(Bytes file, const std::string& name, const DecodeOptions& options);
Decoded decode_png(Bytes file, const std::string& name, const DecodeOptions& options);
Decoded decode_webp(Bytes file, const std::string& name, const DecodeOptions& options);

/// Raise ImageError for an image without pixels, or with more than `options` allow.
void check_size(std::int64_t width, std::int64_t height, const std::string& name,
                const std::string& format, const DecodeOptions& options);

/// Raise ImageError for an image with more pixels than a limit, which `what` names.
void check_pixels(std::int64_t width, std::int64_t height, const std::string& name,
                  const std::string& format, std::int64_t most, const std::string& what = "");

/// Collects the orientation that EXIF, or else XMP, states.
class Orientation {
 public:
  /// Read a TIFF structure, with or without `Exif\0\0` before it.
  void exif(Bytes block);
  /// Read XMP.
  void xmp(Bytes text);
  /// Return 1 to 8; 1 if neither states a valid one.
  int value() const;

 private:
  int exif_ = 0;
  int xmp_ = 0;
};

/// Return one channel of a pixel composited on white; Pillow's rounding.
inline std::uint8_t on_white(unsigned value, unsigned alpha) {
  const unsigned sum = 255 * (255 - alpha) + value * alpha + 128;
  return static_cast<std::uint8_t>(((sum >> 8) + sum) >> 8);
}

/// Return a * b / 255; Pillow's rounding.
inline unsigned times_255(unsigned a, unsigned b) {
  const unsigned product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

}  // namespace ppcls::detail
