#include "ppcls/image.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <new>
#include <opencv2/imgproc.hpp>
#include <string_view>

#include "decoders.h"
#include "ppcls/error.h"
#include "text.h"

namespace ppcls {

namespace {

using detail::Bytes;
using detail::Decoded;

struct Signature {
  std::size_t offset;
  std::string_view magic;
  const char* format;
};

using namespace std::string_view_literals;

constexpr Signature kSignatures[] = {
    {0, "\xff\xd8\xff"sv, "JPEG"},
    {0, "\x89PNG\r\n\x1a\n"sv, "PNG"},
    {0, "GIF8"sv, "GIF"},
    {8, "WEBP"sv, "WebP"},
    {0, "BM"sv, "BMP"},
    {0, "II*\0"sv, "TIFF"},
    {0, "MM\0*"sv, "TIFF"},
    {0, "\0\0\0\x0cjP  \r\n\x87\n"sv, "JPEG 2000"},
    {0, "\xff\x4f\xff\x51"sv, "JPEG 2000"},
    {4, "ftypavi"sv, "AVIF"},
    {0, "8BPS"sv, "PSD"},
    {0, "icns"sv, "ICNS"},
    {0, "\0\0\1\0"sv, "ICO"},
    {0, "qoif"sv, "QOI"},
    {0, "\x01\xda"sv, "SGI"},
    {0, "\x93NUMPY"sv, "NumPy"},
    {4, "ftyphe"sv, "HEIC"},
    {4, "ftypmif1"sv, "HEIC"},
    {4, "ftyp"sv, "MP4 video"},
    {0, "\0\0\0\x0cJXL "sv, "JPEG XL"},
    {0, "\xff\x0a"sv, "JPEG XL"},
    {0, "#?RADIANCE"sv, "Radiance HDR"},
    {0, "#?RGBE"sv, "Radiance HDR"},
    {0, "v/1\x01"sv, "OpenEXR"},
    {0, "DDS "sv, "DDS"},
    {0, "SIMPLE"sv, "FITS"},
    {0, "II+\0"sv, "BigTIFF"},
    {0, "MM\0+"sv, "BigTIFF"},
    {0, "%PDF"sv, "PDF"},
    {0, "%!PS"sv, "PostScript"},
    {0, "BLP"sv, "BLP"},
    {0, "<svg"sv, "SVG"},
    {0, "<!DOCTYPE html"sv, "HTML"},
    {0, "<html"sv, "HTML"},
    {0, "PK\x03\x04"sv, "ZIP"},
    {0, "\x1f\x8b"sv, "gzip"},
};

const std::vector<std::string> kSuffixes = {
    ".apng", ".avif", ".bmp", ".gif", ".icns", ".ico", ".j2c", ".j2k",  ".jfif", ".jp2", ".jpe",
    ".jpeg", ".jpf",  ".jpg", ".jpx", ".mpo",  ".npy", ".pbm", ".pcx",  ".pfm",  ".pgm", ".png",
    ".pnm",  ".ppm",  ".psd", ".qoi", ".sgi",  ".tga", ".tif", ".tiff", ".webp"};

std::string recognise(Bytes file) {
  const std::string_view all(reinterpret_cast<const char*>(file.data), file.size);
  for (const auto& known : kSignatures) {
    if (all.size() >= known.offset && all.substr(known.offset, known.magic.size()) == known.magic) {
      return known.format;
    }
  }
  return "";
}

/// Undo an orientation (Exif 2.32, tag 0x0112), so that the top row is the first.
cv::Mat upright(const cv::Mat& image, int orientation) {
  cv::Mat out = image;
  if (orientation >= 5) cv::transpose(image, out);
  switch (orientation) {
    case 2:
    case 6:
      cv::flip(out, out, 1);
      break;
    case 3:
    case 7:
      cv::flip(out, out, -1);
      break;
    case 4:
    case 8:
      cv::flip(out, out, 0);
      break;
    default:
      break;
  }
  return out;
}

}  // namespace

void detail::check_size(std::int64_t width, std::int64_t height, const std::string& name,
                        const std::string& format, const DecodeOptions& options) {
  if (width <= 0 || height <= 0) {
    throw ImageError(
        "the image has no pixels: " + std::to_string(width) + "x" + std::to_string(height), name,
        format);
  }
  check_pixels(width, height, name, format, options.max_pixels);
}

void detail::check_pixels(std::int64_t width, std::int64_t height, const std::string& name,
                          const std::string& format, std::int64_t most, const std::string& what) {
  if (height <= 0 || width <= most / height) return;
  throw ImageError("too many pixels: " + std::to_string(width) + "x" + std::to_string(height) +
                       ", more than the limit" + what + " of " + std::to_string(most),
                   name, format);
}

std::vector<std::uint8_t> read_file(const std::string& path) {
  const auto refuse = [&path](const std::string& why) -> ImageError {
    return {"cannot read the image: " + why, path, ""};
  };
  namespace fs = std::filesystem;
  if (path.find('\0') != path.npos) throw refuse("embedded null byte");
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::none || status.type() == fs::file_type::not_found) {
    throw refuse(std::strerror(error.value()));
  }
  if (fs::is_directory(status)) throw refuse(std::strerror(EISDIR));
  if (!fs::is_regular_file(status)) throw refuse("not a regular file");
  const auto size = static_cast<std::int64_t>(fs::file_size(path, error));
  if (size > kMaxFileBytes) {
    throw refuse("larger than " + std::to_string(kMaxFileBytes >> 20) + " MiB");
  }
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::vector<std::uint8_t> data(static_cast<std::size_t>(size));
  file.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size()));
  if (!file) throw refuse(errno != 0 ? std::strerror(errno) : "it ended early");
  return data;
}

cv::Mat decode_image(const std::uint8_t* data, std::size_t size, const std::string& name,
                     const DecodeOptions& options) {
  if (size == 0) throw ImageError("the image file is empty", name, "");
  const Bytes file{data, size};
  const std::string format = recognise(file);
  try {
    Decoded found;
    if (format == "JPEG") {
      found = detail::decode_jpeg(file, name, options);
    } else if (format == "PNG") {
      found = detail::decode_png(file, name, options);
    } else if (format == "WebP") {
      found = detail::decode_webp(file, name, options);
    } else {
      throw ImageError(format.empty()
                           ? "not an image that the C++ library reads (JPEG, PNG, WebP)"
                           : "a format that the C++ library does not read (JPEG, PNG, WebP)",
                       name, format);
    }
    cv::Mat image = upright(found.image, found.orientation);
    if (options.channels == 1) cv::cvtColor(image, image, cv::COLOR_RGB2GRAY);
    return image;
  } catch (const std::bad_alloc&) {
    throw ImageError("not enough memory to decode it", name, format);
  } catch (const cv::Exception&) {  // OpenCV's way to say so
    throw ImageError("not enough memory to decode it", name, format);
  }
}

cv::Mat read_image(const std::string& path, const DecodeOptions& options) {
  const auto data = read_file(path);
  return decode_image(data.data(), data.size(), path, options);
}

bool has_image_suffix(const std::string& path) {
  return std::find(kSuffixes.begin(), kSuffixes.end(), detail::suffix_of(path)) != kSuffixes.end();
}

std::string image_suffixes() { return detail::joined(kSuffixes, ", "); }

}  // namespace ppcls
