#include "text.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace ppcls::detail {

namespace {

/// Return the length of the UTF-8 sequence at a place, and its character; 0 if it is none.
int decode(const std::string& text, std::size_t at, std::uint32_t& character) {
  const auto byte = [&](std::size_t i) -> std::uint32_t {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const std::uint32_t first = byte(at);
  if (first < 0x80) {
    character = first;
    return 1;
  }
  const int length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  constexpr std::array<std::uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
  if (first < 0xC2 || first > 0xF4) return 0;
  character = first & (0x7FU >> static_cast<unsigned>(length));
  for (int i = 1; i < length; ++i) {
    const std::uint32_t next = byte(at + i);
    if ((next & 0xC0U) != 0x80) return 0;
    character = character << 6U | (next & 0x3FU);
  }
  const bool is_surrogate = character >= 0xD800 && character <= 0xDFFF;
  return character < kLeast[length] || character > 0x10FFFF || is_surrogate ? 0 : length;
}

std::string hexadecimal(const char* format, unsigned value) {
  char text[16];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

/// C0 and C1 controls, separators of lines, marks of the writing direction, and the like.
bool is_control(std::uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c <= 0x9F) || c == 0x61C || c == 0x200E || c == 0x200F ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2066 && c <= 0x2069) || c == 0xFEFF ||
         (c >= 0xFFF9 && c <= 0xFFFB);
}

std::string escaped(std::uint32_t c) {
  if (c == '\n') return "\\n";
  if (c == '\r') return "\\r";
  if (c == '\t') return "\\t";
  return c < 0x100 ? hexadecimal("\\x%02x", c) : hexadecimal("\\u%04x", c);
}

}  // namespace

std::string joined(const std::vector<std::string>& words, const char* separator) {
  std::string out;
  for (const auto& word : words) out += (out.empty() ? "" : separator) + word;
  return out;
}

std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

std::size_t valid_utf8(const std::string& text, std::size_t from) {
  std::uint32_t character = 0;
  for (std::size_t at = from; at < text.size();) {
    const int length = decode(text, at, character);
    if (length == 0) return at;
    at += length;
  }
  return text.size();
}

std::string printable(const std::string& text) {
  std::string out;
  std::uint32_t character = 0;
  for (std::size_t at = 0; at < text.size();) {
    const int length = decode(text, at, character);
    if (length == 0) {
      out += hexadecimal("\\udc%02x", static_cast<unsigned char>(text[at++]));
    } else {
      out += is_control(character) ? escaped(character) : text.substr(at, length);
      at += length;
    }
  }
  return out;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = valid_utf8(text, at);
    const std::string part = nlohmann::json(text.substr(at, end - at)).dump();
    out += part.substr(1, part.size() - 2);
    at = end;
    if (at < text.size()) out += hexadecimal("\\udc%02x", static_cast<unsigned char>(text[at++]));
  }
  return out + "\"";
}

std::string plain_path(const std::string& path) {
  std::string given = path;
  if (given == "~" || given.rfind("~/", 0) == 0) {
    const char* home = std::getenv("HOME");
    if (home != nullptr) given.replace(0, 1, home);
  }
  const bool has_root = !given.empty() && given[0] == '/';
  std::vector<std::string> parts;
  for (std::size_t at = 0; at < given.size();) {
    const std::size_t end = std::min(given.find('/', at), given.size());
    const std::string part = given.substr(at, end - at);
    if (!part.empty() && part != ".") parts.push_back(part);
    at = end + 1;
  }
  const bool has_two = given.rfind("//", 0) == 0 && given.rfind("///", 0) != 0;
  std::string out = has_root ? (has_two ? "//" : "/") : "";
  out += joined(parts, "/");
  return out.empty() ? "." : out;
}

std::string path_in(const std::string& folder, const std::string& name) {
  if (!name.empty() && name[0] == '/') return plain_path(name);
  return plain_path(folder == "." ? "./" + name : folder + "/" + name);
}

std::string name_of(const std::string& path) {
  const auto slash = path.find_last_of('/');
  return slash == path.npos ? path : path.substr(slash + 1);
}

std::string suffix_of(const std::string& path) {
  const std::string name = name_of(path);
  const auto dot = name.find_last_of('.');
  // Names such as `.jpg` and `x.` have no suffix.
  if (dot == name.npos || dot + 1 == name.size() || name.find_first_not_of('.') > dot) return "";
  std::string suffix = name.substr(dot);
  std::transform(suffix.begin(), suffix.end(), suffix.begin(), [](unsigned char c) {
    return c < 0x80 ? static_cast<char>(std::tolower(c)) : static_cast<char>(c);
  });
  return suffix;
}

std::string right_stripped(std::string text) {
  static const std::vector<std::string> kBlanks = {" ",
                                                   "\t",
                                                   "\n",
                                                   "\r",
                                                   "\v",
                                                   "\f",
                                                   "\x1c",
                                                   "\x1d",
                                                   "\x1e",
                                                   "\x1f",
                                                   "\xc2\x85",
                                                   "\xc2\xa0",
                                                   "\xe1\x9a\x80",
                                                   "\xe2\x80\x80",
                                                   "\xe2\x80\x81",
                                                   "\xe2\x80\x82",
                                                   "\xe2\x80\x83",
                                                   "\xe2\x80\x84",
                                                   "\xe2\x80\x85",
                                                   "\xe2\x80\x86",
                                                   "\xe2\x80\x87",
                                                   "\xe2\x80\x88",
                                                   "\xe2\x80\x89",
                                                   "\xe2\x80\x8a",
                                                   "\xe2\x80\xa8",
                                                   "\xe2\x80\xa9",
                                                   "\xe2\x80\xaf",
                                                   "\xe2\x81\x9f",
                                                   "\xe3\x80\x80"};
  const auto ends_blank = [&text] {
    for (const auto& blank : kBlanks) {
      if (text.size() >= blank.size() &&
          text.compare(text.size() - blank.size(), blank.size(), blank) == 0) {
        return blank.size();
      }
    }
    return std::size_t{0};
  };
  while (const std::size_t length = ends_blank()) text.resize(text.size() - length);
  return text;
}

}  // namespace ppcls::detail
