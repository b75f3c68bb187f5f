// The image decoder: an encoded image in, an RGB array out, by the policy of docs/images.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <opencv2/core.hpp>
#include <string>
#include <vector>

namespace ppcls {

/// Default limit of the pixels of an image.
constexpr std::int64_t kMaxPixels = 100'000'000;

/// Largest image file that is read, in bytes.
constexpr std::int64_t kMaxFileBytes = std::int64_t{1} << 30;

/// Options of the decoder.
struct DecodeOptions {
  /// 3 for RGB, 1 for gray: the luma of RGB.
  int channels = 3;
  /// Refuse an image with more pixels, before decoding.
  std::int64_t max_pixels = kMaxPixels;
};

/// Read a whole file.
///
/// Raises ImageError: it is missing, not a regular file, or larger than `kMaxFileBytes`.
std::vector<std::uint8_t> read_file(const std::string& path);

/// Return an encoded image as 8 bits (H, W, channels), RGB or gray: the pixels that Python's
/// `ppcls.read_image` gives. Transparent pixels are composited on white.
///
/// Reads JPEG, PNG and WebP. Other formats are refused by name.
///
/// Args:
///   data, size: the bytes of the file.
///   name: its name in errors.
///
/// Raises ImageError: not an image, damaged, too large, or of a format that is not read here.
cv::Mat decode_image(const std::uint8_t* data, std::size_t size, const std::string& name,
                     const DecodeOptions& options = {});

/// Return the image in a file; see `decode_image`.
cv::Mat read_image(const std::string& path, const DecodeOptions& options = {});

/// Whether the suffix of a path, in any case, is one of an image file.
bool has_image_suffix(const std::string& path);

/// Return these suffixes, separated by commas.
std::string image_suffixes();

}  // namespace ppcls
