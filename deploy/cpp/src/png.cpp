// PNG, with libpng: the samples as they are stored, converted as docs/images.md says.
#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <csetjmp>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "decoders.h"
#include "ppcls/error.h"

namespace ppcls::detail {

namespace {

std::uint32_t big_endian(const std::uint8_t* at) {
  return std::uint32_t{at[0]} << 24 | std::uint32_t{at[1]} << 16 | std::uint32_t{at[2]} << 8 |
         at[3];
}

/// Largest rows of samples: libpng holds two of them, even of an image without data.
constexpr std::size_t kMaxRowBytes = std::size_t{128} << 20;
/// Largest text of a chunk after decompression, as in Pillow.
constexpr std::size_t kMaxText = std::size_t{1} << 20;

/// An ancillary chunk for which Python refuses the image.
struct BadChunk {
  std::string why;
};

/// Decompress; what damaged data gives is empty. Raises BadChunk: larger than `kMaxText`.
std::string inflated(std::string_view packed) {
  z_stream stream;
  std::memset(&stream, 0, sizeof(stream));
  if (inflateInit(&stream) != Z_OK) throw std::bad_alloc();
  const std::unique_ptr<z_stream, decltype(&inflateEnd)> guard(&stream, inflateEnd);
  std::string out;
  std::string block(std::size_t{1} << 16, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  int state = Z_OK;
  while (state == Z_OK) {
    stream.next_out = reinterpret_cast<Bytef*>(block.data());
    stream.avail_out = static_cast<uInt>(block.size());
    state = inflate(&stream, Z_NO_FLUSH);
    out.append(block, 0, block.size() - stream.avail_out);
    if (out.size() > kMaxText) throw BadChunk{"decompressed data too large"};
  }
  // Z_BUF_ERROR: the data end early.
  return state == Z_STREAM_END || state == Z_BUF_ERROR ? out : "";
}

/// Split at the first zero byte; the second part is empty without one.
std::pair<std::string_view, std::string_view> split(std::string_view text) {
  const auto at = text.find('\0');
  if (at == text.npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + 1)};
}

/// The facts of the chunks around the pixels, as Pillow reads them.
class Chunks {
 public:
  /// The content of the last tRNS, even after the pixels.
  std::string_view transparency;

  /// Read a chunk. Raises BadChunk.
  void read(std::string_view type, std::string_view data) {
    static const std::map<std::string_view, std::size_t> kLeast = {
        {"gAMA", 4}, {"cHRM", 32}, {"sRGB", 1}, {"pHYs", 9}, {"acTL", 8}, {"fcTL", 26}};
    const auto least = kLeast.find(type);
    if (least != kLeast.end() && data.size() < least->second) {
      throw BadChunk{"truncated " + std::string(type) + " chunk"};
    }
    if (type == "tRNS") read_transparency(data);
    if (type == "iCCP") read_profile(data);
    if (type == "eXIf") exif_ = std::string(data);
    if (type == "tEXt" || type == "zTXt" || type == "iTXt") read_text(type, data);
    if (type == "acTL" || type == "fcTL" || type == "fdAT") read_frame(type, data);
  }

  void begin(std::uint32_t width, std::uint32_t height, int colour_type) {
    width_ = width;
    height_ = height;
    colour_type_ = colour_type;
  }

  void found_pixels() {
    if (has_pixels_) return;
    has_pixels_ = true;
    is_animated_ = frames_ > 1 || (frames_ == 1 && sequence_ < 0);
  }
  bool has_pixels() const { return has_pixels_; }
  /// Whether Pillow stops at the next frame.
  bool is_animated() const { return is_animated_; }

  int orientation() const {
    Orientation out;
    if (xml_) {
      out.xmp(bytes_of(*xml_));
    } else if (xmp_) {
      out.xmp(bytes_of(*xmp_));
    }
    if (exif_) {
      out.exif(bytes_of(*exif_));
    } else if (profile_) {
      const auto exif = digits(*profile_);
      if (!exif) return 1;
      out.exif(bytes_of(*exif));
    }
    return out.value();
  }

 private:
  static Bytes bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
  }

  void read_transparency(std::string_view data) {
    const std::size_t least = colour_type_ == PNG_COLOR_TYPE_GRAY  ? 2
                              : colour_type_ == PNG_COLOR_TYPE_RGB ? 6
                                                                   : 0;
    if (data.size() < least) throw BadChunk{"truncated tRNS chunk"};
    transparency = data;
  }

  static void read_profile(std::string_view data) {
    const auto end = data.find('\0');
    const std::size_t method = end == data.npos ? 0 : end + 1;
    if (method >= data.size() || data[method] != 0) {
      throw BadChunk{"unknown compression method in iCCP chunk"};
    }
    inflated(data.substr(std::min(data.size(), end == data.npos ? 1 : end + 2)));
  }

  void read_text(std::string_view type, std::string_view data) {
    auto [key, rest] = split(data);
    std::string value(rest);
    bool is_utf8 = true;
    if (type == "zTXt") {
      if (!rest.empty() && rest[0] != 0) {
        throw BadChunk{"unknown compression method in zTXt chunk"};
      }
      value = rest.empty() ? "" : inflated(rest.substr(1));
    } else if (type == "iTXt") {
      if (data.find('\0') == data.npos || rest.size() < 2) return;
      const bool is_packed = rest[0] != 0;
      if (is_packed && rest[1] != 0) return;
      rest.remove_prefix(2);
      for (int i = 0; i < 2; ++i) {  // the language, and the translated key
        if (rest.find('\0') == rest.npos) return;
        is_utf8 = is_utf8 && utf8(split(rest).first);
        rest = split(rest).second;
      }
      value = is_packed ? inflated(rest) : std::string(rest);
      if (key == "XML:com.adobe.xmp") xmp_ = value;
      is_utf8 = is_utf8 && utf8(value);
    }
    if (!is_utf8) return;
    if (key == "exif") exif_ = type == "tEXt" ? value : "text, which is not EXIF";
    if (key == "XML:com.adobe.xmp" && !value.empty()) xml_ = value;
    if (key == "Raw profile type exif") profile_ = value;
  }

  static bool utf8(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) {
      const auto byte = [&text](std::size_t at) {
        return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
      };
      const unsigned first = byte(i);
      const int more = first < 0x80   ? 0
                       : first < 0xC2 ? -1
                       : first < 0xE0 ? 1
                       : first < 0xF0 ? 2
                       : first < 0xF5 ? 3
                                      : -1;
      if (more < 0) return false;
      for (int k = 1; k <= more; ++k) {
        if ((byte(i + k) & 0xC0U) != 0x80U) return false;
      }
      const unsigned second = byte(i + 1);
      if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
          (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F)) {
        return false;
      }
      i += 1 + more;
    }
    return true;
  }

  /// Return the bytes of a profile that ImageMagick writes as hexadecimal digits, after three
  /// lines; nothing if it is damaged.
  static std::optional<std::string> digits(std::string_view text) {
    for (int line = 0; line < 3; ++line) {
      const auto end = text.find('\n');
      if (end == text.npos) return "";
      text.remove_prefix(end + 1);
    }
    std::string out;
    int high = -1;
    for (const char c : text) {
      if (std::isspace(static_cast<unsigned char>(c)) != 0) {
        if (c != '\n' && high >= 0) return std::nullopt;
        continue;
      }
      const auto digit = std::string_view("0123456789abcdef")
                             .find(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
      if (digit == std::string_view::npos) return std::nullopt;
      if (high < 0) {
        high = static_cast<int>(digit);
      } else {
        out += static_cast<char>(high << 4 | static_cast<int>(digit));
        high = -1;
      }
    }
    if (high >= 0) return std::nullopt;
    return out;
  }

  void read_frame(std::string_view type, std::string_view data) {
    const auto* at = reinterpret_cast<const std::uint8_t*>(data.data());
    if (type == "acTL") {
      const std::uint32_t count = big_endian(at);
      if (frames_ != 0) {
        frames_ = 0;
      } else if (count <= 0x80000000U) {
        frames_ = count;
      }
      return;
    }
    if (data.size() < 4) throw BadChunk{"APNG contains truncated fdAT chunk"};
    const std::int64_t sequence = big_endian(at);
    if (sequence != sequence_ + 1 || (type == "fdAT" && sequence_ < 0)) {
      throw BadChunk{"APNG contains frame sequence errors"};
    }
    sequence_ = sequence;
    if (type == "fdAT") {
      if (!has_pixels_) throw BadChunk{"APNG has a frame before its image"};
      return;
    }
    const std::uint64_t width = big_endian(at + 4);
    const std::uint64_t height = big_endian(at + 8);
    const std::uint64_t x = big_endian(at + 12);
    const std::uint64_t y = big_endian(at + 16);
    if (x + width > width_ || y + height > height_) throw BadChunk{"APNG contains invalid frames"};
    if (!has_pixels_ && (width != width_ || height != height_)) {
      throw BadChunk{"the first APNG frame is not the whole image"};
    }
  }

  std::optional<std::string> exif_;
  std::optional<std::string> profile_;
  std::optional<std::string> xml_;
  std::optional<std::string> xmp_;
  std::uint64_t width_ = 0;
  std::uint64_t height_ = 0;
  int colour_type_ = 0;
  std::uint32_t frames_ = 0;
  std::int64_t sequence_ = -1;
  bool has_pixels_ = false;
  bool is_animated_ = false;
};

/// Return the name of a chunk for an error.
std::string shown(std::string_view name) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      out += c;
    } else {
      out += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return "'" + out + "'";
}

bool is_name(std::string_view name) {
  return std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  });
}

/// Read the chunks. Refuse a file that ends early, has a wrong checksum in a critical chunk, or
/// a chunk that Python refuses.
Chunks read_chunks(Bytes file, const std::string& name) {
  const auto refuse = [&name](const std::string& why) { return ImageError(why, name, "PNG"); };
  Chunks chunks;
  bool is_read = true;
  bool has_header = false;
  std::size_t at = 8;
  while (at + 12 <= file.size) {
    const std::size_t length = big_endian(file.data + at);
    if (length > file.size - at - 12) break;
    const std::uint8_t* start = file.data + at + 4;
    const std::string_view type(reinterpret_cast<const char*>(start), 4);
    const std::string_view data(reinterpret_cast<const char*>(start) + 4, length);
    const bool is_critical = (start[0] & 0x20) == 0;
    const auto found = crc32(0, start, static_cast<uInt>(length + 4));
    // Pillow checks the others up to the first pixels.
    if ((is_critical || !chunks.has_pixels()) && found != big_endian(start + 4 + length)) {
      throw refuse("damaged: wrong checksum of chunk " + shown(type));
    }
    if (type == "IEND") return chunks;
    if (!is_name(type)) {
      if (!chunks.has_pixels()) throw refuse("damaged: a chunk named " + shown(type));
      is_read = false;  // Pillow reads no further, but the rest has to be intact
    }
    if (type == "IHDR" && !has_header && length >= 13) {
      has_header = true;
      if (start[4 + 11] != 0) throw refuse("an unknown filter method");
      chunks.begin(big_endian(start + 4), big_endian(start + 8), start[4 + 9]);
    }
    if (type == "IDAT") chunks.found_pixels();
    is_read = is_read && !(chunks.is_animated() && type == "fcTL" && chunks.has_pixels());
    try {
      if (is_read) chunks.read(type, data);
    } catch (const BadChunk& bad) {
      throw refuse("the image is truncated or damaged: " + bad.why);
    }
    at += 12 + length;
  }
  throw refuse("the image is truncated: no end chunk");
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
    // read_chunks reads what is of interest
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER,
                                reinterpret_cast<png_const_bytep>("tRNS"), 1);
    png_set_crc_action(png_, PNG_CRC_DEFAULT, PNG_CRC_QUIET_USE);
    png_read_info(png_, info_);
    depth_ = png_get_bit_depth(png_, info_);
    png_set_packing(png_);
    if (depth_ == 16 && colour_type() != PNG_COLOR_TYPE_GRAY) png_set_strip_16(png_);
    passes_ = png_set_interlace_handling(png_);
    return true;
  }

  /// Reserve memory for two rows, and for the samples of an interlaced image.
  bool start() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_update_info(png_, info_);
    return true;
  }

  /// Read the next row.
  bool read_row(std::uint8_t* out) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_read_row(png_, out, nullptr);
    return true;
  }

  /// Whether rows come several times, each time with more samples.
  int passes() const { return passes_; }

  png_uint_32 width() const { return png_get_image_width(png_, info_); }
  png_uint_32 height() const { return png_get_image_height(png_, info_); }
  /// Bits of a sample in the file; 16-bit colour is read as its high bytes.
  int depth() const { return depth_; }
  int colour_type() const { return png_get_color_type(png_, info_); }
  std::size_t row_bytes() const { return png_get_rowbytes(png_, info_); }
  std::string message() const { return message_.text; }

  /// Return the palette, RGBA; entries that the file lacks are black, as in Pillow.
  std::vector<cv::Vec4b> palette(std::string_view alphas) const {
    std::vector<cv::Vec4b> out(256, {0, 0, 0, 255});
    png_colorp colours = nullptr;
    int count = 0;
    png_get_PLTE(png_, info_, &colours, &count);
    for (int i = 0; i < count; ++i) {
      out[i] = {colours[i].red, colours[i].green, colours[i].blue, 255};
    }
    for (std::size_t i = 0; i < std::min(alphas.size(), out.size()); ++i) {
      out[i][3] = static_cast<std::uint8_t>(alphas[i]);
    }
    return out;
  }

 private:
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  Source source_;
  Message message_;
  int passes_ = 1;
  int depth_ = 8;
};

/// Converts one row of samples to RGB.
class Converter {
 public:
  Converter(const Reader& reader, std::string_view transparency)
      : type_(reader.colour_type()), depth_(reader.depth()) {
    if (type_ == PNG_COLOR_TYPE_PALETTE) palette_ = reader.palette(transparency);
    const auto two = [transparency](std::size_t i) {
      return static_cast<unsigned char>(transparency[2 * i]) << 8 |
             static_cast<unsigned char>(transparency[2 * i + 1]);
    };
    if (type_ == PNG_COLOR_TYPE_GRAY && transparency.size() >= 2) {
      transparent_ = {depth_ == 1 ? static_cast<int>(two(0) != 0) : two(0), 0, 0};
    } else if (type_ == PNG_COLOR_TYPE_RGB && transparency.size() >= 6) {
      const int shift = depth_ == 16 ? 8 : 0;
      transparent_ = {two(0) >> shift, two(1) >> shift, two(2) >> shift};
    }
  }

  void operator()(const std::uint8_t* from, cv::Vec3b* to, int width) const {
    for (int x = 0; x < width; ++x) {
      switch (type_) {
        case PNG_COLOR_TYPE_PALETTE: {
          const auto& entry = palette_[from[x]];
          to[x] = composite({entry[0], entry[1], entry[2]}, entry[3]);
          break;
        }
        case PNG_COLOR_TYPE_GRAY:
          to[x] = gray(from + (depth_ == 16 ? 2 : 1) * static_cast<std::size_t>(x));
          break;
        case PNG_COLOR_TYPE_GRAY_ALPHA: {
          const std::uint8_t* at = from + std::size_t{2} * x;
          to[x] = composite({at[0], at[0], at[0]}, at[1]);
          break;
        }
        case PNG_COLOR_TYPE_RGB: {
          const std::uint8_t* at = from + std::size_t{3} * x;
          to[x] = colour({at[0], at[1], at[2]});
          break;
        }
        default: {
          const std::uint8_t* at = from + std::size_t{4} * x;
          to[x] = composite({at[0], at[1], at[2]}, at[3]);
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
    const int sample = depth_ == 16 ? at[0] << 8 | at[1] : at[0];
    if (sample == transparent_[0]) return {255, 255, 255};
    const int highest = (1 << depth_) - 1;
    const int value = depth_ == 16 ? static_cast<int>(std::nearbyint(sample * (255.0 / 65535.0)))
                                   : sample * 255 / highest;
    const auto gray = static_cast<std::uint8_t>(value);
    return {gray, gray, gray};
  }

  cv::Vec3b colour(const cv::Vec3b& pixel) const {
    const bool same =
        pixel[0] == transparent_[0] && pixel[1] == transparent_[1] && pixel[2] == transparent_[2];
    return same ? cv::Vec3b(255, 255, 255) : pixel;
  }

  int type_;
  int depth_;
  cv::Vec3i transparent_{-1, -1, -1};
  std::vector<cv::Vec4b> palette_;
};

}  // namespace

Decoded decode_png(Bytes file, const std::string& name, const DecodeOptions& options) {
  const Chunks chunks = read_chunks(file, name);
  const auto refuse = [&name](const std::string& why) {
    return ImageError("the image is truncated or damaged: " + why, name, "PNG");
  };
  Reader reader(file);
  if (!reader.read_header()) throw refuse(reader.message());
  check_size(reader.width(), reader.height(), name, "PNG", options);
  if (reader.row_bytes() > kMaxRowBytes) {
    throw ImageError("rows of " + std::to_string(reader.row_bytes()) +
                         " bytes, more than the limit of " + std::to_string(kMaxRowBytes),
                     name, "PNG");
  }
  if (!reader.start()) throw refuse(reader.message());
  const auto width = static_cast<int>(reader.width());
  const auto height = static_cast<int>(reader.height());
  const bool is_whole = reader.passes() > 1;
  cv::Mat samples(is_whole ? height : 1, static_cast<int>(reader.row_bytes()), CV_8UC1);
  for (int pass = 1; pass < reader.passes(); ++pass) {
    for (int y = 0; y < height; ++y) {
      if (!reader.read_row(samples.ptr(y))) throw refuse(reader.message());
    }
  }
  cv::Mat image(height, width, CV_8UC3);
  const Converter convert(reader, chunks.transparency);
  for (int y = 0; y < height; ++y) {
    std::uint8_t* row = samples.ptr(is_whole ? y : 0);
    if (!reader.read_row(row)) throw refuse(reader.message());
    convert(row, image.ptr<cv::Vec3b>(y), width);
  }
  return {image, chunks.orientation()};
}

}  // namespace ppcls::detail
