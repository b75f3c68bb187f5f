// PNG, with libpng: the samples as they are stored, converted as docs/images.md says.
#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstring>
#include <string_view>
#include <vector>

#include "decoders.h"
#include "ppcls/error.h"
#include "text.h"

namespace ppcls::detail {

namespace {

std::uint32_t big_endian(const std::uint8_t* at) {
  return std::uint32_t{at[0]} << 24 | std::uint32_t{at[1]} << 16 | std::uint32_t{at[2]} << 8 |
         at[3];
}

/// Read the orientation from the profile that ImageMagick writes: EXIF as hexadecimal digits.
void raw_profile(std::string_view chunk, Bytes data, Orientation& orientation) {
  constexpr std::string_view kKey("Raw profile type exif\0", 22);
  constexpr std::size_t kMaxBytes = std::size_t{1} << 20;
  std::string text(reinterpret_cast<const char*>(data.data), data.size);
  if (text.compare(0, kKey.size(), kKey) != 0) return;
  text.erase(0, kKey.size());
  if (chunk == "zTXt") {
    if (text.empty() || text[0] != 0) return;
    std::string plain(kMaxBytes, '\0');
    auto size = static_cast<uLongf>(plain.size());
    const auto* packed = reinterpret_cast<const Bytef*>(text.data()) + 1;
    if (uncompress(reinterpret_cast<Bytef*>(plain.data()), &size, packed,
                   static_cast<uLong>(text.size() - 1)) != Z_OK) {
      return;
    }
    text = plain.substr(0, size);
  }
  // A line with the profile's name and one with its length come first.
  auto start = text.find_first_not_of('\n');
  for (int line = 0; line < 2 && start != text.npos; ++line) {
    start = text.find('\n', start);
    if (start != text.npos) ++start;
  }
  if (start == text.npos) return;
  std::vector<std::uint8_t> exif;
  int digits = 0;
  unsigned value = 0;
  for (const char c : text.substr(start)) {
    const auto digit = std::string_view("0123456789abcdef").find(c);
    if (digit == std::string_view::npos) continue;
    value = value << 4 | static_cast<unsigned>(digit);
    if (++digits % 2 == 0) exif.push_back(static_cast<std::uint8_t>(value & 0xFF));
  }
  orientation.exif({exif.data(), exif.size()});
}

/// Return the name of a chunk, Latin-1, as UTF-8 with escapes.
std::string shown(std::string_view chunk) {
  std::string text;
  for (const unsigned char c : chunk) {
    if (c < 0x80) {
      text += static_cast<char>(c);
    } else {
      text += static_cast<char>(0xC0U | c >> 6U);
      text += static_cast<char>(0x80U | (c & 0x3FU));
    }
  }
  return printable(text);
}

/// Checks the numbers of an animation's chunks up to its second frame, as Pillow does.
struct Frames {
  bool is_animated = false;
  bool is_over = false;
  std::int64_t last = -1;

  void check(std::string_view chunk, Bytes data, bool has_pixels, const std::string& name) {
    is_over |= chunk == "fcTL" && has_pixels && is_animated;
    if (is_over) return;
    const std::int64_t number = data.size < 4 ? -1 : std::int64_t{big_endian(data.data)};
    if (chunk == "fdAT" && (last < 0 || number != last + 1)) {
      throw ImageError("the image is truncated or damaged: APNG contains frame sequence errors",
                       name, "PNG");
    }
    last = number;
  }
};

/// Refuse a file that ends early or has a wrong checksum in a critical chunk, and read the
/// orientation from its text.
int check_chunks(Bytes file, const std::string& name) {
  Orientation orientation;
  Frames frames;
  bool has_pixels = false;
  std::size_t at = 8;
  while (at + 12 <= file.size) {
    const std::size_t length = big_endian(file.data + at);
    if (length > file.size - at - 12) break;
    const std::uint8_t* type = file.data + at + 4;
    const std::string_view chunk(reinterpret_cast<const char*>(type), 4);
    const Bytes data{type + 4, length};
    const bool is_critical = (type[0] & 0x20) == 0;
    const auto found = crc32(0, type, static_cast<uInt>(length + 4));
    has_pixels |= chunk == "IDAT";
    // Pillow checks the others up to the first pixels.
    if ((is_critical || !has_pixels) && found != big_endian(data.data + length)) {
      throw ImageError("damaged: wrong checksum of chunk '" + shown(chunk) + "'", name, "PNG");
    }
    if (chunk == "IHDR" && length == 13 && (data.data[10] != 0 || data.data[11] != 0)) {
      throw ImageError("an unknown compression or filter method", name, "PNG");
    }
    const auto is_letter = [](unsigned char c) { return std::isalnum(c) != 0 || c == '_'; };
    frames.is_over |= has_pixels && !std::all_of(chunk.begin(), chunk.end(), is_letter);
    if (chunk == "fcTL" || chunk == "fdAT") frames.check(chunk, data, has_pixels, name);
    if (chunk == "acTL" && length >= 4) frames.is_animated = big_endian(data.data) > 1;
    if (chunk == "eXIf") orientation.exif(data);
    if (chunk == "tEXt" || chunk == "zTXt") raw_profile(chunk, data, orientation);
    if (chunk == "iTXt") {
      constexpr std::string_view kXmp("XML:com.adobe.xmp\0\0", 19);  // not compressed
      const std::string_view text(reinterpret_cast<const char*>(data.data), data.size);
      if (text.substr(0, kXmp.size()) == kXmp) orientation.xmp(data);
    }
    if (chunk == "IEND") return orientation.value();
    at += 12 + length;
  }
  throw ImageError("the image is truncated: no end chunk", name, "PNG");
}

struct Source {
  Bytes file;
  std::size_t at;
};

void read_bytes(png_structp png, png_bytep out, png_size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->file.size - source->at) png_error(png, "the file ends early");
  std::memcpy(out, source->file.data + source->at, count);
  source->at += count;
}

struct Message {
  char text[256];
};

void on_error(png_structp png, png_const_charp text) {
  auto* message = static_cast<Message*>(png_get_error_ptr(png));
  std::strncpy(message->text, text, sizeof(message->text) - 1);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}

/// Decodes in steps; libpng reports errors by longjmp, so no step has objects to destroy.
class Reader {
 public:
  explicit Reader(Bytes file) : source_{file, 0} {
    std::memset(&message_, 0, sizeof(message_));
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &message_, on_error, on_warning);
    if (png_ != nullptr) info_ = png_create_info_struct(png_);
    if (info_ == nullptr) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw std::bad_alloc();
    }
  }
  ~Reader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  bool read_header() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, &source_, read_bytes);
    png_set_user_limits(png_, 0x7FFFFFFF, 0x7FFFFFFF);  // check_size limits the pixels
    png_read_info(png_, info_);
    png_set_packing(png_);
    passes_ = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  bool decode(std::uint8_t* out, std::size_t stride) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    for (int pass = 0; pass < passes_; ++pass) {
      for (png_uint_32 y = 0; y < height(); ++y) png_read_row(png_, out + y * stride, nullptr);
    }
    return true;  // what follows the pixels does not matter
  }

  png_uint_32 width() const { return png_get_image_width(png_, info_); }
  png_uint_32 height() const { return png_get_image_height(png_, info_); }
  int depth() const { return depth_of_file_; }
  int colour_type() const { return png_get_color_type(png_, info_); }
  std::size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
  std::string message() const { return message_.text; }

  /// Return the palette, RGBA; entries that the file lacks are black, as in Pillow.
  std::vector<cv::Vec4b> palette() const {
    std::vector<cv::Vec4b> out(256, {0, 0, 0, 255});
    png_colorp colours = nullptr;
    int count = 0;
    png_get_PLTE(png_, info_, &colours, &count);
    for (int i = 0; i < count; ++i) {
      out[i] = {colours[i].red, colours[i].green, colours[i].blue, 255};
    }
    png_bytep alphas = nullptr;
    int given = 0;
    if (png_get_tRNS(png_, info_, &alphas, &given, nullptr) != 0 && alphas != nullptr) {
      for (int i = 0; i < given; ++i) out[i][3] = alphas[i];
    }
    return out;
  }

  /// The transparent colour of an image without alpha, or null.
  const png_color_16* transparent() const {
    png_color_16p colour = nullptr;
    return png_get_tRNS(png_, info_, nullptr, nullptr, &colour) != 0 ? colour : nullptr;
  }

  void set_depth(int depth) { depth_of_file_ = depth; }

 private:
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  Source source_;
  Message message_;
  int passes_ = 1;
  int depth_of_file_ = 8;
};

/// Converts one row of samples to RGB.
class Converter {
 public:
  explicit Converter(const Reader& reader)
      : type_(reader.colour_type()), depth_(reader.depth()), transparent_(reader.transparent()) {
    if (type_ == PNG_COLOR_TYPE_PALETTE) palette_ = reader.palette();
  }

  void operator()(const std::uint8_t* from, cv::Vec3b* to, int width) const {
    const int bytes = depth_ == 16 ? 2 : 1;
    for (int x = 0; x < width; ++x) {
      switch (type_) {
        case PNG_COLOR_TYPE_PALETTE: {
          const auto& entry = palette_[from[x]];
          to[x] = composite({entry[0], entry[1], entry[2]}, entry[3]);
          break;
        }
        case PNG_COLOR_TYPE_GRAY:
          to[x] = gray(from + bytes * x);
          break;
        case PNG_COLOR_TYPE_GRAY_ALPHA: {
          const std::uint8_t* at = from + 2 * bytes * x;
          to[x] = composite({at[0], at[0], at[0]}, at[bytes]);
          break;
        }
        case PNG_COLOR_TYPE_RGB: {
          const std::uint8_t* at = from + 3 * bytes * x;
          to[x] = colour({at[0], at[bytes], at[2 * bytes]});
          break;
        }
        default: {
          const std::uint8_t* at = from + 4 * bytes * x;
          to[x] = composite({at[0], at[bytes], at[2 * bytes]}, at[3 * bytes]);
        }
      }
    }
  }

 private:
  static cv::Vec3b composite(const cv::Vec3b& colour, unsigned alpha) {
    if (alpha == 255) return colour;
    return {on_white(colour[0], alpha), on_white(colour[1], alpha), on_white(colour[2], alpha)};
  }

  cv::Vec3b gray(const std::uint8_t* at) const {
    const unsigned sample = depth_ == 16 ? at[0] << 8U | at[1] : at[0];
    const unsigned highest = (1U << static_cast<unsigned>(depth_)) - 1;
    if (transparent_ != nullptr && sample == (transparent_->gray & highest)) return {255, 255, 255};
    const auto value = depth_ == 16
                           ? static_cast<std::uint8_t>(std::nearbyint(sample * (255.0 / 65535.0)))
                           : static_cast<std::uint8_t>(sample * 255 / highest);
    return {value, value, value};
  }

  cv::Vec3b colour(const cv::Vec3b& pixel) const {
    if (transparent_ == nullptr) return pixel;
    const int shift = depth_ == 16 ? 8 : 0;
    const bool same = pixel[0] == transparent_->red >> shift &&
                      pixel[1] == transparent_->green >> shift &&
                      pixel[2] == transparent_->blue >> shift;
    return same ? cv::Vec3b(255, 255, 255) : pixel;
  }

  int type_;
  int depth_;
  const png_color_16* transparent_;
  std::vector<cv::Vec4b> palette_;
};

}  // namespace

Decoded decode_png(Bytes file, const std::string& name, const DecodeOptions& options) {
  const int orientation = check_chunks(file, name);
  const auto refuse = [&name](const std::string& why) {
    return ImageError("the image is truncated or damaged: " + why, name, "PNG");
  };
  if (file.size > 24) {  // before libpng reserves memory for a row
    check_size(big_endian(file.data + 16), big_endian(file.data + 20), name, "PNG", options);
  }
  Reader reader(file);
  if (!reader.read_header()) throw refuse(reader.message());
  reader.set_depth(file.data[24]);
  const auto width = static_cast<int>(reader.width());
  const auto height = static_cast<int>(reader.height());
  cv::Mat samples(height, static_cast<int>(reader.row_bytes()), CV_8UC1);
  if (!reader.decode(samples.data, samples.step)) throw refuse(reader.message());
  cv::Mat image(height, width, CV_8UC3);
  const Converter convert(reader);
  for (int y = 0; y < height; ++y) convert(samples.ptr(y), image.ptr<cv::Vec3b>(y), width);
  return {image, orientation};
}

}  // namespace ppcls::detail
